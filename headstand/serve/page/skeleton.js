// Draws the skeleton that a person's heatmaps show, so that one sees what the model is given.
const [JOINTS, HEIGHT, WIDTH] = [17, 64, 48];
const SCALE = 8; // pixels of the drawing for one of the map
const SEEN = 0.05; // height of a peak from which on its joint is drawn

const [LEFT, RIGHT, MIDDLE] = ["#2a78b8", "#c8641e", "#555"];
const BONES = [
  ...[[5, 7], [7, 9], [5, 11], [11, 13], [13, 15], [1, 3]].map((bone) => [...bone, LEFT]),
  ...[[6, 8], [8, 10], [6, 12], [12, 14], [14, 16], [2, 4]].map((bone) => [...bone, RIGHT]),
  ...[[5, 6], [11, 12], [0, 1], [0, 2]].map((bone) => [...bone, MIDDLE]),
];

/** The numbers of a .npy file as NumPy writes heatmaps; null if it is anything else. */
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

/** A PNG of the skeleton in a file; null if the file holds none. */
export async function drawn(blob) {
  const maps = await blob.arrayBuffer().then(numbers).catch(() => null);
  if (!maps) return null;
  const canvas = Object.assign(document.createElement("canvas"), { width: WIDTH * SCALE, height: HEIGHT * SCALE });
  const pen = canvas.getContext("2d");
  pen.drawImage(heat(maps), 0, 0, canvas.width, canvas.height);
  const peaks = Array.from({ length: JOINTS }, (_, joint) => peak(maps.subarray(joint * HEIGHT * WIDTH, (joint + 1) * HEIGHT * WIDTH)));
  pen.lineWidth = 5;
  pen.lineCap = "round";
  for (const [one, other, colour] of BONES) {
    if (!peaks[one].seen || !peaks[other].seen) continue;
    pen.strokeStyle = colour;
    pen.beginPath();
    pen.moveTo(peaks[one].x, peaks[one].y);
    pen.lineTo(peaks[other].x, peaks[other].y);
    pen.stroke();
  }
  pen.fillStyle = "#222";
  for (const { x, y, seen } of peaks) {
    if (!seen) continue;
    pen.beginPath();
    pen.arc(x, y, 5, 0, 2 * Math.PI);
    pen.fill();
  }
  return new Promise((resolve) => canvas.toBlob(resolve));
}

/** All maps in grey, one pixel a value. */
function heat(maps) {
  const canvas = Object.assign(document.createElement("canvas"), { width: WIDTH, height: HEIGHT });
  const pen = canvas.getContext("2d");
  const picture = pen.createImageData(WIDTH, HEIGHT);
  for (let place = 0; place < HEIGHT * WIDTH; place += 1) {
    let most = 0;
    for (let joint = 0; joint < JOINTS; joint += 1) most = Math.max(most, maps[joint * HEIGHT * WIDTH + place]);
    const grey = 255 - 90 * Math.min(1, most);
    picture.data.set([grey, grey, grey, 255], 4 * place);
  }
  pen.putImageData(picture, 0, 0);
  return canvas;
}

function peak(map) {
  let place = 0;
  for (let other = 1; other < map.length; other += 1) if (map[other] > map[place]) place = other;
  return { x: ((place % WIDTH) + 0.5) * SCALE, y: (Math.floor(place / WIDTH) + 0.5) * SCALE, seen: map[place] > SEEN };
}
