// Draws the skeleton of a person's heatmaps, to visualise the model's input.
const [JOINTS, HEIGHT, WIDTH] = [17, 64, 48];
const SCALE = 8; // pixels of the drawing per pixel of the heatmap
const VISIBLE = 0.05; // minimum height of a peak; joints with a lower one are not drawn

const [LEFT, RIGHT, MIDDLE] = ["#2a78b8", "#c8641e", "#555"];
const BONES = [
  ...[[5, 7], [7, 9], [5, 11], [11, 13], [13, 15], [1, 3]].map((bone) => [...bone, LEFT]),
  ...[[6, 8], [8, 10], [6, 12], [12, 14], [14, 16], [2, 4]].map((bone) => [...bone, RIGHT]),
  ...[[5, 6], [11, 12], [0, 1], [0, 2]].map((bone) => [...bone, MIDDLE]),
];

/** Returns the values of a .npy file with heatmaps; null for any other file. */
export function numbers(buffer) {
  const view = new DataView(buffer);
  if (view.byteLength < 12 || view.getUint32(0) !== 0x934e554d) return null;
  const [start, length] = view.getUint8(6) === 1 ? [10, view.getUint16(8, true)] : [12, view.getUint32(8, true)];
  if (start + length > view.byteLength) return null;
  const header = new TextDecoder("latin1").decode(new Uint8Array(buffer, start, length));
  const fits = /'descr': '<f4'/.test(header) && /'fortran_order': False/.test(header) && /\((1, )?17, 64, 48\)/.test(header);
  const data = buffer.slice(start + length);
  return fits && data.byteLength === 4 * JOINTS * HEIGHT * WIDTH ? new Float32Array(data) : null;
}

/** Returns the skeleton of a file as a PNG; null if the file has no heatmaps. */
export async function drawSkeleton(blob) {
  const maps = await blob.arrayBuffer().then(numbers).catch(() => null);
  if (!maps) return null;
  const canvas = Object.assign(document.createElement("canvas"), { width: WIDTH * SCALE, height: HEIGHT * SCALE });
  const context = canvas.getContext("2d");
  context.drawImage(heat(maps), 0, 0, canvas.width, canvas.height);
  const peaks = Array.from({ length: JOINTS }, (_, joint) => peak(maps.subarray(joint * HEIGHT * WIDTH, (joint + 1) * HEIGHT * WIDTH)));
  context.lineWidth = 5;
  context.lineCap = "round";
  for (const [one, other, colour] of BONES) {
    if (!peaks[one].visible || !peaks[other].visible) continue;
    context.strokeStyle = colour;
    context.beginPath();
    context.moveTo(peaks[one].x, peaks[one].y);
    context.lineTo(peaks[other].x, peaks[other].y);
    context.stroke();
  }
  context.fillStyle = "#222";
  for (const { x, y, visible } of peaks) {
    if (!visible) continue;
    context.beginPath();
    context.arc(x, y, 5, 0, 2 * Math.PI);
    context.fill();
  }
  return new Promise((resolve) => canvas.toBlob(resolve));
}

/** Returns the maximum of all heatmaps as a grey image, one pixel per value. */
function heat(maps) {
  const canvas = Object.assign(document.createElement("canvas"), { width: WIDTH, height: HEIGHT });
  const context = canvas.getContext("2d");
  const picture = context.createImageData(WIDTH, HEIGHT);
  for (let index = 0; index < HEIGHT * WIDTH; index += 1) {
    let maximum = 0;
    for (let joint = 0; joint < JOINTS; joint += 1) maximum = Math.max(maximum, maps[joint * HEIGHT * WIDTH + index]);
    const grey = 255 - 90 * Math.min(1, maximum);
    picture.data.set([grey, grey, grey, 255], 4 * index);
  }
  context.putImageData(picture, 0, 0);
  return canvas;
}

function peak(map) {
  let index = 0;
  for (let other = 1; other < map.length; other += 1) if (map[other] > map[index]) index = other;
  return { x: ((index % WIDTH) + 0.5) * SCALE, y: (Math.floor(index / WIDTH) + 0.5) * SCALE, visible: map[index] > VISIBLE };
}
