// The camera: a phone's own app where there is one, else a window of this page.
import { Problem } from "./problem.js";
import { $ } from "./show.js";

/** Offer it; `take` gets what was taken, `cancel` the problem if nothing could be. */
export function offer(take, cancel) {
  const touch = matchMedia("(pointer: coarse)").matches;
  $("shoot-open").hidden = !touch && !navigator.mediaDevices?.getUserMedia;
  let stream = null, countdown = 0, asking = false;

  $("shoot-open").addEventListener("click", async () => {
    if (touch) return $("capture").click();
    if (asking) return; // a second stream would never be stopped
    asking = true;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1280 } }, audio: false });
    } catch (error) {
      const none = error.name === "NotFoundError";
      return cancel(new Problem(none ? "No camera was found." : "The browser does not let the page use the camera.", {
        advice: none ? "Choose a picture instead." : "Allow it beside the page’s address, or choose a picture instead.",
      }));
    } finally {
      asking = false;
    }
    for (const id of ["shoot", "shoot-later"]) $(id).disabled = true; // until there is a picture to take
    $("video").srcObject = stream;
    $("camera").showModal();
  });
  $("video").addEventListener("loadeddata", () => {
    for (const id of ["shoot", "shoot-later"]) $(id).disabled = false;
    $("shoot").focus();
  });

  function shoot() {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [$("video").videoWidth, $("video").videoHeight];
    canvas.getContext("2d").drawImage($("video"), 0, 0);
    canvas.toBlob((blob) => take({ blob, name: "Camera" }), "image/jpeg", 0.92);
    $("camera").close();
  }

  $("shoot").addEventListener("click", shoot);
  $("shoot-later").addEventListener("click", () => {
    clearInterval(countdown);
    let left = 5;
    $("countdown").textContent = String(left);
    countdown = setInterval(() => {
      left -= 1;
      $("countdown").textContent = left ? String(left) : "";
      if (!left) {
        clearInterval(countdown);
        shoot();
      }
    }, 1000);
  });
  $("shoot-close").addEventListener("click", () => $("camera").close());
  $("camera").addEventListener("close", () => {
    clearInterval(countdown);
    $("countdown").textContent = "";
    stream?.getTracks().forEach((track) => track.stop());
    $("video").srcObject = stream = null;
  });
}
