// Problems, described for people: the reason and what they can do.
export const ADVICE = {
  picture: "Supported formats: JPEG, PNG, WebP, GIF, BMP, AVIF, HEIC and TIFF. Save the picture as one of these, or take a screenshot of it. "
    + "If HEIC photos are refused: an iPhone saves JPEG under Settings, Camera, Formats, Most Compatible.",
  heatmaps: "Supported: a .npy file with the heatmaps of one person, float32 [1, 17, 64, 48], as written by numpy.save.",
  damaged: "Open it in a picture viewer. If it looks complete there, save a copy and try that.",
  large: "Save a smaller copy, 1,000 pixels wide is enough, and try that.",
  address: "Enter the complete address of the picture itself, with https:// at its start. Use “Copy image address” in the browser’s menu.",
  save: "Save the picture and choose the file instead.",
  open: "Open the address in a new tab. If that works, save the picture and choose the file instead.",
  again: "Wait a moment and try again.",
};
const ADVICE_BY_CODE = {
  not_an_image: ADVICE.picture,
  unsupported_media_type: ADVICE.picture,
  not_heatmaps: ADVICE.heatmaps,
  corrupt_image: ADVICE.damaged,
  corrupt_heatmaps: ADVICE.heatmaps,
  too_large: ADVICE.large,
  download_too_large: ADVICE.large,
  request_entity_too_large: ADVICE.large,
  content_too_large: ADVICE.large,
  bad_url: ADVICE.address,
  forbidden_address: ADVICE.save,
  download_failed: ADVICE.open,
  download_timeout: ADVICE.open,
  http_error: ADVICE.open,
  too_many_redirects: ADVICE.open,
  unauthorized: "Enter the key that its operator gave you.",
};

/** Messages by code, where those of the service are too technical. */
const MESSAGES = {
  not_an_image: "This is not a picture, or not in a supported format",
  forbidden_address: "This address is not public",
  unauthorized: "This service needs an API key",
};

/** A problem: a message for people, advice, whether to offer another try, the request's id, the service's code, and the seconds after which the service wants the next try, 0 if it does not say. */
export class Problem extends Error {
  constructor(message, { advice = "", again = false, id = "", code = "", wait = 0 } = {}) {
    super(message);
    Object.assign(this, { advice, again, id, code, wait });
  }
}

/** Returns the seconds of the header Retry-After, which is a number or a date (RFC 9110, 10.2.3); 0 without it. */
function retryAfter(value) {
  const seconds = /^\d+$/.test(value ?? "") ? Number(value) : (Date.parse(value) - Date.now()) / 1000;
  return Math.max(0, Math.ceil(seconds)) || 0;
}

function sentence(text) {
  const trimmed = String(text).trim();
  return trimmed && trimmed[0].toUpperCase() + trimmed.slice(1) + (/[.!?]$/.test(trimmed) ? "" : ".");
}

/** Returns the problem of an error response: problem details (RFC 9457), or an object `error`, or neither. */
export function problemOf(result, response) {
  const inner = typeof result?.error === "object" ? result.error : {};
  const code = result?.code ?? inner?.code;
  const detail = result?.detail ?? inner?.message ?? result?.message ?? result?.title;
  const id = result?.request_id ?? response.headers.get("X-Request-ID") ?? "";
  const busy = response.status === 503 || response.status === 429;
  const failed = response.status >= 500;
  const message = MESSAGES[code] ?? (busy ? "The service is busy" : failed ? "The service failed" : detail || `The service responded with status ${response.status}`);
  const wait = busy ? retryAfter(response.headers.get("Retry-After")) : 0;
  const advice = ADVICE_BY_CODE[code] ?? (wait ? `Try again in ${wait} s.` : failed || busy ? ADVICE.again : "");
  return new Problem(sentence(message), { advice, again: failed || busy, id: failed ? String(id) : "", code, wait });
}
