// What can go wrong, told to people: what it is, and the way out.
export const ADVICE = {
  picture: "It takes JPEG, PNG, WebP, GIF and BMP. Save the picture as one of these, or take a screenshot of it. "
    + "An iPhone saves JPEG instead of HEIC under Settings, Camera, Formats, Most Compatible.",
  heatmaps: "It takes the .npy file of one person’s heatmaps, float32 [1, 17, 64, 48], as numpy.save writes it.",
  damaged: "Open it in a picture viewer. If it looks whole there, save a copy and try that.",
  large: "Save a smaller copy, 1,000 pixels wide are plenty, and try that.",
  address: "Give the whole address of the picture itself, from https:// on. “Copy image address” in a browser’s menu gives it.",
  save: "Save the picture and choose the file instead.",
  open: "See whether the address opens in a new tab. If it does, save the picture and choose the file instead.",
  again: "Wait a moment and try again.",
};
const WAY_OUT = {
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
};

/** Where the service's own words are for engineers. */
const SAYING = {
  not_an_image: "This is not a picture, or not of a kind that can be read",
  forbidden_address: "This address is not open to everyone on the internet",
};

/** What went wrong, in a sentence for people, and what they can do. */
export class Problem extends Error {
  constructor(message, { advice = "", again = false, id = "" } = {}) {
    super(message);
    Object.assign(this, { advice, again, id });
  }
}

function sentence(text) {
  const words = String(text).trim();
  return words && words[0].toUpperCase() + words.slice(1) + (/[.!?]$/.test(words) ? "" : ".");
}

/** The problem that an answer of the service stands for: problem details, or an object `error`, or neither. */
export function refused(answer, response) {
  const inner = typeof answer?.error === "object" ? answer.error : {};
  const code = answer?.code ?? inner?.code;
  const told = answer?.detail ?? inner?.message ?? answer?.message ?? answer?.title;
  const id = answer?.request_id ?? response.headers.get("X-Request-ID") ?? "";
  const busy = response.status === 503 || response.status === 429;
  const ours = response.status >= 500;
  const words = SAYING[code] ?? (busy ? "The service is busy" : ours ? "The service failed" : told || `The service answered ${response.status}`);
  const seconds = Number(response.headers.get("Retry-After"));
  const advice = WAY_OUT[code] ?? (busy && seconds > 0 ? `Try again in ${seconds} s.` : ours || busy ? ADVICE.again : "");
  return new Problem(sentence(words), { advice, again: ours || busy, id: ours ? String(id) : "" });
}
