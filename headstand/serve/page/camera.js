// The camera: the phone's camera app on touch devices, else a dialog of this page.
import { Problem } from "./problem.js";
import { $ } from "./view.js";

/** Adds the camera; `submit` receives the picture, `cancel` the problem if there is none. */
export function addCamera(submit, cancel) {
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
      const missing = error.name === "NotFoundError";
      return cancel(new Problem(missing ? "No camera was found." : "The browser does not allow the page to use the camera.", {
        advice: missing ? "Choose a picture instead." : "Allow it next to the page’s address, or choose a picture instead.",
      }));
    } finally {
      asking = false;
    }
    for (const id of ["shoot", "shoot-later"]) $(id).disabled = true; // until the video has started
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
    canvas.toBlob((blob) => submit({ blob, name: "Camera" }), "image/jpeg", 0.92);
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
