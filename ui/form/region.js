/*
 * A region of a picture, drawn by brush and box: new studio.Region(dialog, done). open(src, text) shows a picture and
 * the region that a text names; done(text) is called with what was drawn. The text is that of gspn_core/region.py.
 */
(() => {
  const WHOLE = 1000;
  // A point nearer than this to the last one, in thousandths, is left out.
  const NEAR = 4;
  const STEP = 20;
  const MOST_CHARACTERS = 19000;
  const whole = (value) => Math.round(Math.min(WHOLE, Math.max(0, value)));

  const read = (text) => {
    const parts = text.split(";").map((part) => part.trim().split(/\s+/)).filter(([name]) => name);
    const outside = parts[0]?.[0] === "outside";
    return { outside, shapes: parts.slice(outside ? 1 : 0).map(([name, ...numbers]) => ({ name, numbers: numbers.map(Number) })) };
  };

  window.studio.Region = class {
    constructor(dialog, done) {
      this.dialog = dialog;
      this.find = window.dom.within(dialog);
      this.canvas = this.find(".region-canvas");
      this.image = this.find(".region-image");
      this.size = this.find(".region-size");
      this.outside = this.find(".region-outside");
      this.tool = "brush";
      this.at = [WHOLE / 2, WHOLE / 2];
      this.shapes = [];
      this.drawing = null;
      for (const button of dialog.querySelectorAll("[data-tool]")) {
        button.addEventListener("click", () => this.choose(button.dataset.tool));
      }
      this.find(".region-undo").addEventListener("click", () => this.take(this.shapes.slice(0, -1)));
      this.find(".region-clear").addEventListener("click", () => this.take([]));
      this.find(".region-cancel").addEventListener("click", () => dialog.close());
      this.find(".region-done").addEventListener("click", () => {
        dialog.close();
        done(this.text());
      });
      this.outside.addEventListener("change", () => this.paint());
      this.image.addEventListener("load", () => this.fit());
      window.addEventListener("resize", () => dialog.open && this.fit());
      this.canvas.addEventListener("pointerdown", (event) => this.begin(event));
      this.canvas.addEventListener("pointermove", (event) => this.move(event));
      for (const name of ["pointerup", "pointercancel"]) this.canvas.addEventListener(name, () => this.end());
      dialog.addEventListener("keydown", (event) => this.key(event));
    }

    open(src, text) {
      const { outside, shapes } = read(text);
      this.outside.checked = outside;
      this.take(shapes);
      if (this.image.getAttribute("src") === src) this.fit();
      else this.image.src = src;
      this.dialog.showModal();
      this.canvas.focus();
    }

    text() {
      const parts = this.shapes.map(({ name, numbers }) => [name, ...numbers].join(" "));
      return parts.length && this.outside.checked ? ["outside", ...parts].join("; ") : parts.join("; ");
    }

    choose(tool) {
      this.tool = tool;
      for (const button of this.dialog.querySelectorAll("[data-tool]")) {
        button.setAttribute("aria-pressed", String(button.dataset.tool === tool));
      }
    }

    take(shapes) {
      this.shapes = shapes;
      this.paint();
    }

    fit() {
      const { naturalWidth, naturalHeight } = this.image;
      if (!naturalWidth) return;
      // As large as the window allows, also where the picture itself is small.
      const room = [Math.min(880, window.innerWidth - 62) / naturalWidth, (window.innerHeight - 240) / naturalHeight];
      this.image.style.width = `${Math.floor(naturalWidth * Math.min(...room))}px`;
      this.canvas.width = naturalWidth;
      this.canvas.height = naturalHeight;
      this.paint();
    }

    place({ clientX, clientY }) {
      const box = this.canvas.getBoundingClientRect();
      return [whole(((clientX - box.left) / box.width) * WHOLE), whole(((clientY - box.top) / box.height) * WHOLE)];
    }

    begin(event) {
      event.preventDefault();
      this.canvas.setPointerCapture(event.pointerId);
      this.at = this.place(event);
      this.start(this.at);
    }

    start([x, y]) {
      if (this.text().length > MOST_CHARACTERS) return;
      const numbers = this.tool === "box" ? [x, y, 0, 0] : [Number(this.size.value), x, y];
      this.drawing = { name: this.tool, numbers, from: [x, y] };
      this.take([...this.shapes, this.drawing]);
    }

    move(event) {
      const { drawing } = this;
      if (!drawing) return;
      const [x, y] = (this.at = this.place(event));
      const { numbers, from } = drawing;
      if (drawing.name === "box") {
        numbers.splice(0, 4, Math.min(x, from[0]), Math.min(y, from[1]), Math.abs(x - from[0]), Math.abs(y - from[1]));
      } else if (Math.hypot(x - numbers.at(-2), y - numbers.at(-1)) >= NEAR && this.text().length < MOST_CHARACTERS) {
        numbers.push(x, y);
      }
      this.paint();
    }

    end() {
      const { drawing } = this;
      this.drawing = null;
      if (drawing?.name === "box" && Math.min(drawing.numbers[2], drawing.numbers[3]) < 1) {
        this.take(this.shapes.filter((shape) => shape !== drawing));
      }
    }

    /* The arrows move a mark, Space paints there; undo is what it is everywhere. */
    key(event) {
      const away = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] }[event.key];
      const undo = event.key === "z" && (event.ctrlKey || event.metaKey);
      if (undo) this.take(this.shapes.slice(0, -1));
      else if (event.target !== this.canvas || !(away || event.key === " ")) return;
      else if (away) {
        this.at = [whole(this.at[0] + away[0]), whole(this.at[1] + away[1])];
        this.paint();
      } else {
        const radius = Number(this.size.value);
        this.start(this.tool === "box" ? [whole(this.at[0] - radius), whole(this.at[1] - radius)] : this.at);
        if (this.drawing && this.tool === "box") this.drawing.numbers.splice(2, 2, 2 * radius, 2 * radius);
        this.drawing = null;
        this.paint();
      }
      event.preventDefault();
      event.stopPropagation();
    }

    paint() {
      const pen = this.canvas.getContext("2d");
      const { width, height } = this.canvas;
      const x = width / WHOLE;
      const y = height / WHOLE;
      pen.globalCompositeOperation = "source-over";
      pen.clearRect(0, 0, width, height);
      pen.fillStyle = pen.strokeStyle = getComputedStyle(this.dialog).getPropertyValue("--accent");
      pen.lineCap = pen.lineJoin = "round";
      for (const { name, numbers } of this.shapes) {
        if (name === "box") pen.fillRect(numbers[0] * x, numbers[1] * y, numbers[2] * x, numbers[3] * y);
        else {
          const [radius, ...points] = numbers;
          pen.lineWidth = Math.max(1, (2 * radius * Math.max(width, height)) / WHOLE);
          pen.beginPath();
          for (let i = 0; i < points.length; i += 2) pen.lineTo(points[i] * x, points[i + 1] * y);
          if (points.length === 2) pen.lineTo(points[0] * x + 0.01, points[1] * y);
          pen.stroke();
        }
      }
      if (this.outside.checked && this.shapes.length) {
        pen.globalCompositeOperation = "source-out";
        pen.fillRect(0, 0, width, height);
      }
      for (const name of [".region-undo", ".region-clear"]) this.find(name).disabled = !this.shapes.length;
      if (document.activeElement === this.canvas && this.canvas.matches(":focus-visible")) this.mark(pen, x, y);
    }

    mark(pen, x, y) {
      const arm = Math.max(this.canvas.width, this.canvas.height) / 40;
      pen.globalCompositeOperation = "difference";
      pen.strokeStyle = "#fff";
      pen.lineWidth = arm / 8;
      pen.beginPath();
      pen.moveTo(this.at[0] * x - arm, this.at[1] * y);
      pen.lineTo(this.at[0] * x + arm, this.at[1] * y);
      pen.moveTo(this.at[0] * x, this.at[1] * y - arm);
      pen.lineTo(this.at[0] * x, this.at[1] * y + arm);
      pen.stroke();
    }
  };
})();
