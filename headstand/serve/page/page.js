// The page: receives a picture from a file, a drop, the clipboard, the camera or a URL, and classifies it.
import { classify, setKey } from "./classify.js";
import { addCamera } from "./camera.js";
import { ADVICE, Problem } from "./problem.js";
import { $, HEATMAPS, fail, picture, show, size, state } from "./view.js";

const LIMIT = Number(document.body.dataset.limit);
const TIMEOUT = 60_000; // milliseconds
const WAITING_DELAY = 150; // milliseconds before the waiting state is shown, so that it does not flicker
const RETRIES = 2; // automatic ones, if the service is busy
const LONGEST_WAIT = 10; // seconds that the page waits for each; beyond them the user decides
const WEB_ADDRESS = /^https?:\/\/\S+$/i;

let current = null; // AbortController of the request in progress

/** Classifies a picture; waits and tries again if the service is busy and says for how long. */
async function classified(source, signal) {
  for (let retries = 0; ; retries += 1) {
    try {
      return await classify(source, signal);
    } catch (error) {
      if (!(error.wait > 0 && error.wait <= LONGEST_WAIT) || retries === RETRIES) throw error;
      state("waiting");
      $("status").textContent = `The service is busy. Next try in ${error.wait} s.`;
      await new Promise((resolve, reject) => {
        const timer = setTimeout(resolve, 1000 * error.wait);
        signal.addEventListener("abort", () => { clearTimeout(timer); reject(signal.reason); }, { once: true });
      });
    }
  }
}

async function submit(source) {
  current?.abort();
  const controller = current = new AbortController();
  let timedOut = false, waiting = 0;
  const timer = setTimeout(() => { timedOut = true; controller.abort(); }, TIMEOUT);
  for (const button of document.querySelectorAll("[data-sample]")) {
    button.setAttribute("aria-pressed", String(button === source.button));
  }
  try {
    picture(source);
    if (source.blob?.size === 0) throw new Problem("The file is empty.", { advice: "Choose another one." });
    if (source.blob?.size > LIMIT) {
      throw new Problem(`The picture has ${size(source.blob.size)}; the limit is ${Math.floor(LIMIT / 1e6)} MB.`, { advice: ADVICE.large });
    }
    $("problem").replaceChildren();
    $("access").hidden = true;
    $("panel").setAttribute("aria-busy", "true");
    waiting = setTimeout(() => {
      state("waiting");
      $("status").textContent = "Classifying the picture.";
    }, WAITING_DELAY);
    const result = await classified(source, controller.signal).finally(() => clearTimeout(waiting));
    if (controller !== current) return;
    // Only now, so that this browser does not fetch a URL that the service refuses to fetch.
    if (source.url) picture(source, true);
    show(result, source);
  } catch (error) {
    if (controller !== current) return;
    const retry = () => submit(source);
    if (timedOut) fail(new Problem("The server took too long.", { advice: ADVICE.again, again: true }), retry);
    else if (error instanceof Problem) {
      fail(error, retry);
      if (error.code === "unauthorized") askKey(retry);
    }
    else throw error;
  } finally {
    clearTimeout(timer);
    if (controller === current) current = null;
  }
}

/** Shows the field for the API key; then sends the picture again. */
function askKey(retry) {
  $("access").hidden = false;
  $("access").onsubmit = (event) => {
    event.preventDefault();
    setKey($("key").value);
    retry();
  };
  $("key").focus();
}

function submitAddress(text) {
  let address = text.trim();
  if (address && !/^[a-z][a-z0-9+.-]*:/i.test(address)) address = `https://${address}`;
  $("url").value = address;
  if (!WEB_ADDRESS.test(address)) {
    cancel(new Problem(address ? "This is not a web address." : "The address is empty.", { advice: ADVICE.address }));
    $("url").focus();
  } else {
    submit({ url: address });
  }
}

function cancel(problem) {
  current?.abort();
  current = null;
  fail(problem);
}

// -- Choosing, dropping, pasting

function take(files) {
  const file = [...files].find(({ type }) => type.startsWith("image/")) ?? files[0];
  if (file) submit({ blob: file, name: file.name });
}

for (const id of ["file", "capture"]) {
  $(id).addEventListener("change", ({ target }) => {
    take([...target.files]);
    target.value = ""; // so that choosing the same file again submits it again
  });
}
$("picture").addEventListener("submit", (event) => event.preventDefault());
$("stage").addEventListener("click", () => $("file").click());
$("address").addEventListener("submit", (event) => {
  event.preventDefault();
  submitAddress($("url").value);
});
for (const button of document.querySelectorAll("[data-sample]")) {
  button.addEventListener("click", async () => {
    try {
      const response = await fetch(button.dataset.sample);
      if (!response.ok) throw new Error(response.statusText);
      submit({ blob: await response.blob(), name: button.textContent, button });
    } catch {
      cancel(new Problem("The sample cannot be loaded.", { advice: "Check your connection, or choose your own picture." }));
    }
  });
}

/** Submits the picture or URL of a drop or of the clipboard; returns false if it is neither. */
function submitTransfer(data) {
  if (data.files.length) take([...data.files]);
  else {
    const lines = (data.getData("text/uri-list") || data.getData("text/plain")).split(/\r?\n/);
    const text = lines.find((line) => line.trim() && !line.startsWith("#"))?.trim() ?? "";
    if (!WEB_ADDRESS.test(text)) return false;
    submitAddress(text);
  }
  return true;
}

let depth = 0; // number of elements entered and not left
const drag = (change) => {
  depth = change ? Math.max(0, depth + change) : 0;
  document.body.classList.toggle("dragging", depth > 0);
};
addEventListener("dragenter", () => drag(1));
addEventListener("dragleave", () => drag(-1));
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault(); // otherwise the browser would open the file
  drag(0);
  if (!submitTransfer(event.dataTransfer)) cancel(new Problem("The dropped item is not a picture.", { advice: HEATMAPS ? ADVICE.heatmaps : ADVICE.picture }));
});
addEventListener("paste", (event) => {
  const typing = event.target instanceof HTMLInputElement && !event.clipboardData.files.length;
  if (typing) return;
  event.preventDefault();
  if (!submitTransfer(event.clipboardData)) emptyClipboard();
});

function emptyClipboard() {
  cancel(new Problem("The clipboard contains no picture and no web address.", { advice: "Copy a picture or its address first." }));
}

$("paste").hidden = HEATMAPS || !navigator.clipboard?.read;
$("paste").addEventListener("click", async () => {
  try {
    for (const item of await navigator.clipboard.read()) {
      const type = item.types.find((kind) => kind.startsWith("image/"));
      if (type) return submit({ blob: await item.getType(type), name: "Pasted picture" });
      if (item.types.includes("text/plain")) {
        const text = (await (await item.getType("text/plain")).text()).trim();
        if (WEB_ADDRESS.test(text)) return submitAddress(text);
      }
    }
    emptyClipboard();
  } catch {
    cancel(new Problem("The browser does not allow the page to read the clipboard.", {
      advice: "Press Ctrl+V, or ⌘V on a Mac, instead.",
    }));
  }
});

if (!HEATMAPS) addCamera(submit, cancel);
