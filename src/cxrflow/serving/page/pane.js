// One radiograph in a viewer: window and level, heat map, lungs, zoom and pan by pointer, wheel, touch and keyboard.
import { byId } from "./dom.js";
import { drawScale, windowed } from "./picture.js";

const MOST = 16; // times the size at which the whole radiograph fits
const OUTLINE = "rgb(80 200 255)"; // as in outputs/pictures.py
const HELP = "Plus and minus zoom, 0 fits, arrow keys move, with Shift they set window and level; I inverts, R resets.";

export class Pane {
  /** `zoomed` is called with this pane when a person has changed what part of the radiograph it shows. */
  constructor(zoomed = () => {}) {
    this.figure = byId("pane").content.cloneNode(true).firstElementChild;
    this.canvas = this.figure.querySelector(".stage canvas");
    this.message = this.figure.querySelector(".message");
    this.caption = this.figure.querySelector("figcaption");
    this.zoomed = zoomed;
    this.pointers = new Map();
    this.whole();
    drawScale(this.figure.querySelector(".scale"));
    for (const input of this.figure.querySelectorAll("input")) {
      input.addEventListener("input", () => this.changed(input));
    }
    for (const button of this.figure.querySelectorAll("[data-do]")) {
      button.addEventListener("click", () => this.do(button.dataset.do));
    }
    this.listen();
    new ResizeObserver(() => this.draw()).observe(this.canvas);
    this.show(null, "");
  }

  input = name => this.figure.querySelector(`[name=${name}]`);
  output = name => this.figure.querySelector(`[data-is=${name}]`);

  /** Show a decoded picture; or, if it is null, why there is none. */
  show(picture, name, caption = "", why = "") {
    this.picture = picture;
    this.message.textContent = why;
    this.caption.textContent = caption;
    this.canvas.setAttribute("aria-label", picture ? `${name}. ${HELP}` : `${name}: ${why}`);
    this.figure.classList.toggle("empty", !picture);
    for (const control of this.figure.querySelectorAll(".tools :is(input, button)")) control.disabled = !picture;
    const lungs = !picture || Boolean(picture.lungs);
    this.input("lungs").parentElement.hidden = !lungs;
    this.output("without-lungs").hidden = lungs;
    this.grey = null;
    this.reset();
  }

  /** The window that shows all values of the picture, no zoom, as it was stored. */
  reset() {
    const { low, high } = this.picture ?? { low: 0, high: 65535 };
    Object.assign(this, { level: (low + high) / 2, width: Math.max(255, high - low), inverted: false });
    this.whole();
    this.windowChanged();
  }

  whole() {
    Object.assign(this, { zoom: 1, x: 0.5, y: 0.5 });
  }

  windowChanged() {
    this.grey &&= { ...this.grey, stale: true };
    this.input("level").value = this.level;
    this.input("width").value = this.width;
    this.figure.querySelector("[data-do=invert]").setAttribute("aria-pressed", this.inverted);
    this.draw();
  }

  changed(input) {
    if (input.name === "level" || input.name === "width") {
      this[input.name] = Number(input.value);
      this.windowChanged();
    } else this.draw();
  }

  do(what) {
    if (!this.picture) return;
    if (what === "in" || what === "out") this.zoomBy(what === "in" ? 1.25 : 0.8);
    else if (what === "drag") {
      const button = this.figure.querySelector("[data-do=drag]");
      button.setAttribute("aria-pressed", button.getAttribute("aria-pressed") !== "true");
      this.draw();
    } else if (what === "invert") {
      this.inverted = !this.inverted;
      this.windowChanged();
    } else {
      if (what === "reset") this.reset();
      this.whole();
      this.moved();
    }
  }

  get dragsWindow() {
    return this.figure.querySelector("[data-do=drag]").getAttribute("aria-pressed") === "true";
  }

  /** Canvas pixels per pixel of the picture. */
  get scale() {
    return this.zoom * Math.min(this.canvas.width / this.picture.width, this.canvas.height / this.picture.height);
  }

  /** Zoom about a point, in canvas pixels; by default the middle. */
  zoomBy(factor, at = [this.canvas.width / 2, this.canvas.height / 2]) {
    const before = this.scale;
    this.zoom = Math.min(MOST, Math.max(1, this.zoom * factor));
    const moved = 1 / before - 1 / this.scale;
    this.x += (at[0] - this.canvas.width / 2) * moved / this.picture.width;
    this.y += (at[1] - this.canvas.height / 2) * moved / this.picture.height;
    this.moved();
  }

  /** Move the picture by canvas pixels. */
  panBy(right, down) {
    this.x -= right / this.scale / this.picture.width;
    this.y -= down / this.scale / this.picture.height;
    this.moved();
  }

  /** Right: less contrast. Up: brighter. In shares of the canvas. */
  windowBy(right, down) {
    this.width = Math.min(65535, Math.max(255, this.width * Math.exp(2 * right)));
    this.level = Math.min(65535, Math.max(0, this.level + down * this.width));
    this.windowChanged();
  }

  moved() {
    this.limit();
    this.draw();
    this.zoomed(this);
  }

  /** Keep the picture on the canvas. */
  limit() {
    for (const [axis, side] of [["x", "width"], ["y", "height"]]) {
      const half = Math.min(0.5, this.canvas[side] / 2 / (this.scale * this.picture[side]));
      this[axis] = Math.min(1 - half, Math.max(half, this[axis]));
    }
  }

  /** Show the same part as another pane. */
  follow({ zoom, x, y }) {
    Object.assign(this, { zoom, x, y });
    if (this.picture) this.limit();
    this.draw();
  }

  draw() {
    cancelAnimationFrame(this.frame);
    this.frame = requestAnimationFrame(() => this.paint());
  }

  paint() {
    const { canvas, picture } = this;
    const ratio = window.devicePixelRatio || 1;
    canvas.width = Math.max(1, Math.round(canvas.clientWidth * ratio));
    canvas.height = Math.max(1, Math.round(canvas.clientHeight * ratio));
    const opacity = Number(this.input("opacity").value);
    this.output("zoom").textContent = `${Math.round(100 * this.zoom)} %`;
    for (const name of ["level", "width"]) this.output(name).textContent = `${Math.round(this[name] / 655.35)} %`;
    this.output("opacity").textContent = `${opacity} %`;
    canvas.classList.toggle("grabs", this.zoom > 1 || this.dragsWindow);
    if (!picture) return;
    if (!this.grey || this.grey.stale) this.grey = { canvas: windowed(picture, this, this.grey?.canvas) };
    const context = canvas.getContext("2d");
    const { scale } = this;
    const left = canvas.width / 2 - this.x * picture.width * scale;
    const top = canvas.height / 2 - this.y * picture.height * scale;
    context.setTransform(scale, 0, 0, scale, left, top);
    context.imageSmoothingQuality = "high";
    context.drawImage(this.grey.canvas, 0, 0);
    if (picture.heat) {
      context.globalAlpha = opacity / 100;
      context.drawImage(picture.heat, 0, 0);
      context.globalAlpha = 1;
    }
    if (picture.lungs && this.input("lungs").checked) {
      for (const [style, width] of [["rgb(0 0 0 / .6)", 4], [OUTLINE, 2]]) {
        context.strokeStyle = style;
        context.lineWidth = width * ratio / scale;
        context.stroke(picture.lungs);
      }
    }
  }

  listen() {
    const { canvas, pointers } = this;
    const place = ({ offsetX, offsetY }) => (
      [offsetX * canvas.width / canvas.clientWidth, offsetY * canvas.height / canvas.clientHeight]
    );
    canvas.addEventListener("wheel", event => {
      if (!this.picture || (event.deltaY > 0 && this.zoom === 1)) return; // whole already: the page scrolls
      event.preventDefault();
      this.zoomBy(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), place(event));
    }, { passive: false });
    canvas.addEventListener("pointerdown", event => {
      if (!this.picture || event.button) return;
      canvas.setPointerCapture(event.pointerId);
      pointers.set(event.pointerId, place(event));
    });
    canvas.addEventListener("pointermove", event => {
      if (!pointers.has(event.pointerId) || !this.picture) return;
      const before = [...pointers.values()];
      const [x, y] = pointers.get(event.pointerId);
      const now = place(event);
      pointers.set(event.pointerId, now);
      if (pointers.size === 2) this.pinch(before, [...pointers.values()]);
      else if (event.shiftKey || this.dragsWindow) {
        this.windowBy((now[0] - x) / canvas.width, (now[1] - y) / canvas.height);
      } else this.panBy(now[0] - x, now[1] - y);
    });
    for (const name of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(name, event => pointers.delete(event.pointerId));
    }
    canvas.addEventListener("keydown", event => this.key(event));
  }

  pinch([one, two], [first, second]) {
    const middle = ([a, b], [c, d]) => [(a + c) / 2, (b + d) / 2];
    const apart = ([a, b], [c, d]) => Math.max(1, Math.hypot(a - c, b - d));
    const [from, to] = [middle(one, two), middle(first, second)];
    this.zoomBy(apart(first, second) / apart(one, two), from);
    this.panBy(to[0] - from[0], to[1] - from[1]);
  }

  key(event) {
    if (!this.picture || event.ctrlKey || event.metaKey || event.altKey) return;
    const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const does = { "+": "in", "=": "in", "-": "out", "0": "fit", i: "invert", r: "reset" }[event.key.toLowerCase()];
    const way = arrows[event.key];
    if (does) this.do(does);
    else if (way && event.shiftKey) this.windowBy(way[0] / 40, way[1] / 40);
    else if (way && this.zoom > 1) this.panBy(-way[0] * this.canvas.width / 10, -way[1] * this.canvas.height / 10);
    else return;
    event.preventDefault();
  }
}
