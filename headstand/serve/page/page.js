// The page: takes a picture in any way a person may have one.
import { classify } from "./ask.js";
import { offer } from "./camera.js";
import { ADVICE, Problem } from "./problem.js";
import { $, HEATMAPS, fail, picture, show, size, state } from "./show.js";

const LIMIT = Number(document.body.dataset.limit);
const PATIENCE = 60_000; // milliseconds
const SOON = 150; // milliseconds in which an answer comes without a sign of waiting, which would only flicker
const WEB_ADDRESS = /^https?:\/\/\S+$/i;

let current = null; // the question that is being asked

async function ask(source) {
  current?.abort();
  const mine = current = new AbortController();
  let late = false, slow = 0;
  const timer = setTimeout(() => { late = true; mine.abort(); }, PATIENCE);
  for (const button of document.querySelectorAll("[data-sample]")) {
    button.setAttribute("aria-pressed", String(button === source.button));
  }
  try {
    picture(source);
    if (source.blob?.size === 0) throw new Problem("The file is empty.", { advice: "Choose another one." });
    if (source.blob?.size > LIMIT) {
      throw new Problem(`The picture has ${size(source.blob.size)}; at most ${Math.floor(LIMIT / 1e6)} MB are taken.`, { advice: ADVICE.large });
    }
    $("problem").replaceChildren();
    $("panel").setAttribute("aria-busy", "true");
    slow = setTimeout(() => {
      state("waiting");
      $("status").textContent = "Looking at the picture.";
    }, SOON);
    const answer = await classify(source, mine.signal).finally(() => clearTimeout(slow));
    if (mine !== current) return;
    // Only now: what the service refuses to fetch, this browser does not fetch either.
    if (source.url) picture(source, true);
    show(answer, source);
  } catch (error) {
    if (mine !== current) return;
    const retry = () => ask(source);
    if (late) fail(new Problem("The server took too long.", { advice: ADVICE.again, again: true }), retry);
    else if (error instanceof Problem) fail(error, retry);
    else throw error;
  } finally {
    clearTimeout(timer);
    if (mine === current) current = null;
  }
}

function askAddress(text) {
  let address = text.trim();
  if (address && !/^[a-z][a-z0-9+.-]*:/i.test(address)) address = `https://${address}`;
  $("url").value = address;
  if (!WEB_ADDRESS.test(address)) {
    cancel(new Problem(address ? "This is not a web address." : "There is no address yet.", { advice: ADVICE.address }));
    $("url").focus();
  } else {
    ask({ url: address });
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
  if (file) ask({ blob: file, name: file.name });
}

for (const id of ["file", "capture"]) {
  $(id).addEventListener("change", ({ target }) => {
    take([...target.files]);
    target.value = ""; // so that choosing the same file again asks again
  });
}
$("picture").addEventListener("submit", (event) => event.preventDefault());
$("stage").addEventListener("click", () => $("file").click());
$("address").addEventListener("submit", (event) => {
  event.preventDefault();
  askAddress($("url").value);
});
for (const button of document.querySelectorAll("[data-sample]")) {
  button.addEventListener("click", async () => {
    try {
      const response = await fetch(button.dataset.sample);
      if (!response.ok) throw new Error(response.statusText);
      ask({ blob: await response.blob(), name: button.textContent, button });
    } catch {
      cancel(new Problem("The sample cannot be loaded.", { advice: "Check your connection, or choose a picture of yours." }));
    }
  });
}

/** A picture or an address, as a drop or the clipboard carries it; false if it is neither. */
function transferred(data) {
  if (data.files.length) take([...data.files]);
  else {
    const lines = (data.getData("text/uri-list") || data.getData("text/plain")).split(/\r?\n/);
    const text = lines.find((line) => line.trim() && !line.startsWith("#"))?.trim() ?? "";
    if (!WEB_ADDRESS.test(text)) return false;
    askAddress(text);
  }
  return true;
}

let depth = 0; // elements entered and not left
const drag = (change) => {
  depth = change ? Math.max(0, depth + change) : 0;
  document.body.classList.toggle("dragging", depth > 0);
};
addEventListener("dragenter", () => drag(1));
addEventListener("dragleave", () => drag(-1));
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault(); // or the browser would leave this page for the file
  drag(0);
  if (!transferred(event.dataTransfer)) cancel(new Problem("What was dropped is no picture.", { advice: HEATMAPS ? ADVICE.heatmaps : ADVICE.picture }));
});
addEventListener("paste", (event) => {
  const writing = event.target instanceof HTMLInputElement && !event.clipboardData.files.length;
  if (writing) return;
  event.preventDefault();
  if (!transferred(event.clipboardData)) nothing();
});

function nothing() {
  cancel(new Problem("The clipboard holds no picture and no web address.", { advice: "Copy a picture or its address first." }));
}

$("paste").hidden = HEATMAPS || !navigator.clipboard?.read;
$("paste").addEventListener("click", async () => {
  try {
    for (const item of await navigator.clipboard.read()) {
      const type = item.types.find((kind) => kind.startsWith("image/"));
      if (type) return ask({ blob: await item.getType(type), name: "Pasted picture" });
      if (item.types.includes("text/plain")) {
        const text = (await (await item.getType("text/plain")).text()).trim();
        if (WEB_ADDRESS.test(text)) return askAddress(text);
      }
    }
    nothing();
  } catch {
    cancel(new Problem("The browser does not let the page read the clipboard.", {
      advice: "Press Ctrl+V, or ⌘V on a Mac, instead.",
    }));
  }
});

if (!HEATMAPS) offer(ask, cancel);
