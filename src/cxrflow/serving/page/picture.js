// A radiograph with 16 bits of grey, its heat map and lungs, as the server sends them; and how they are drawn.
import { INFERNO } from "./inferno.js";

/** Pixels, red green blue alpha, of a PNG in a data URL, exactly as stored: no colour management. */
async function pixels(url) {
  const bytes = Uint8Array.from(atob(url.slice(url.indexOf(",") + 1)), character => character.charCodeAt(0));
  const blob = new Blob([bytes], { type: "image/png" }); // not fetched: the page's policy allows its own server alone
  const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  const context = canvas(bitmap.width, bitmap.height).getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return context.getImageData(0, 0, context.canvas.width, context.canvas.height);
}

function canvas(width, height) {
  return Object.assign(document.createElement("canvas"), { width, height });
}

/**
 * What `look` holds, ready to draw: `grey` (Uint16Array, high byte in red, low byte in green), its `low` and `high`,
 * the canvas `heat` (opaque where the evidence is greatest, transparent where there is none), the path `lungs` or null.
 */
export async function decoded(look) {
  const [shown, hot, inside] = await Promise.all([look.picture, look.heat, look.lungs].map(url => url && pixels(url)));
  const { width, height, data } = shown;
  const grey = new Uint16Array(width * height);
  let low = 65535;
  let high = 0;
  for (let at = 0; at < grey.length; at += 1) {
    const value = (data[4 * at] << 8) | data[4 * at + 1];
    grey[at] = value;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return { width, height, grey, low, high, heat: hot && heated(hot), lungs: inside && outline(inside) };
}

/** Colours whose opacity grows as in explanation/overlay.py; at 60 % of it, a map looks as there. */
function heated({ width, height, data }) {
  const context = canvas(width, height).getContext("2d");
  const drawn = context.createImageData(width, height);
  const share = Array.from({ length: 256 }, (_, value) => Math.round(255 * (value / 255) ** 0.8));
  for (let at = 0; at < data.length; at += 4) {
    drawn.data.set(INFERNO[data[at]], at);
    drawn.data[at + 3] = share[data[at]];
  }
  context.putImageData(drawn, 0, 0);
  return context.canvas;
}

/** The border between pixels of 128 or more and the others, along the sides of pixels. */
function outline({ width, height, data }) {
  const path = new Path2D();
  const inside = (x, y) => x >= 0 && y >= 0 && x < width && y < height && data[4 * (y * width + x)] > 127;
  const trace = (across, along, differ, line) => {
    for (let row = 0; row <= across; row += 1) {
      for (let first = 0; first < along; first += 1) {
        let last = first;
        while (last < along && differ(row, last)) last += 1; // a straight piece as one line
        if (last > first) line(row, first, last);
        first = last;
      }
    }
  };
  trace(height, width, (y, x) => inside(x, y) !== inside(x, y - 1), (y, x, to) => {
    path.moveTo(x, y);
    path.lineTo(to, y);
  });
  trace(width, height, (x, y) => inside(x, y) !== inside(x - 1, y), (x, y, to) => {
    path.moveTo(x, y);
    path.lineTo(x, to);
  });
  return path;
}

/**
 * The picture's grey as shown by a window, on a canvas of its size: black at level - width / 2 and below, white at
 * level + width / 2 and above, linear between (DICOM PS3.3 C.11.2.1.3.2, LINEAR_EXACT).
 */
export function windowed(picture, { level, width, inverted }, onto = canvas(picture.width, picture.height)) {
  const context = onto.getContext("2d");
  const table = new Uint32Array(65536);
  for (let value = 0; value < 65536; value += 1) {
    const share = Math.min(1, Math.max(0, (value - level) / width + 0.5));
    const shade = Math.round(255 * (inverted ? 1 - share : share));
    table[value] = 0xff000000 | (shade * 0x010101);
  }
  const drawn = context.createImageData(picture.width, picture.height);
  const shades = new Uint32Array(drawn.data.buffer);
  for (let at = 0; at < shades.length; at += 1) shades[at] = table[picture.grey[at]];
  context.putImageData(drawn, 0, 0);
  return onto;
}

/** The scale of colours, from none to most evidence, on a canvas 256 pixels wide. */
export function drawScale(onto) {
  const context = onto.getContext("2d");
  INFERNO.forEach(([red, green, blue], at) => {
    context.fillStyle = `rgb(${red} ${green} ${blue})`;
    context.fillRect(at, 0, 1, onto.height);
  });
}
