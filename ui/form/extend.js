/*
 * What is added at the sides of a picture: new studio.Extend(dialog, words, most, done). open(src, size, text) shows a
 * picture of a size such as "640 × 480" on the canvas that a text names; done(text) is called with what was chosen.
 * The text is that of gspn_core/extension.py, in percent up to `most`.
 */
(() => {
  const LONGEST = 4;

  const read = (text) => Object.fromEntries([...text.matchAll(/(left|right|top|bottom)\s+([0-9.]+)/g)].map(([, side, percent]) => [side, Number(percent)]));

  window.studio.Extend = class {
    constructor(dialog, words, most, done) {
      this.dialog = dialog;
      this.words = words;
      this.find = window.dom.within(dialog);
      this.canvas = this.find(".extend-canvas");
      this.image = this.find(".extend-image");
      this.fields = [...dialog.querySelectorAll("[data-side]")];
      for (const field of this.fields) {
        field.max = most;
        field.addEventListener("input", () => this.paint());
        field.addEventListener("change", () => {
          field.value = this.percent(field);
          this.paint();
        });
        field.addEventListener("keydown", (event) => event.key === "Enter" && this.close(event));
      }
      this.find(".extend-clear").addEventListener("click", () => this.take({}));
      this.find(".extend-cancel").addEventListener("click", () => dialog.close());
      this.done = done;
      this.find(".extend-done").addEventListener("click", (event) => this.close(event));
      this.image.addEventListener("load", () => this.paint());
      window.addEventListener("resize", () => dialog.open && this.paint());
      // The page's own keys stay out of the fields.
      dialog.addEventListener("keydown", (event) => event.key !== "Escape" && event.stopPropagation());
    }

    open(src, size, text) {
      this.size = (size.match(/[0-9]+/g) || []).map(Number);
      this.image.src = src;
      this.dialog.showModal();
      this.take(read(text));
      this.fields[0].select();
    }

    close(event) {
      event.preventDefault();
      if (this.find(".extend-done").disabled) return;
      this.dialog.close();
      this.done(this.text());
    }

    take(percents) {
      for (const field of this.fields) field.value = percents[field.dataset.side] || 0;
      this.paint();
    }

    percent(field) {
      return Math.round(Math.min(Number(field.max), Math.max(0, Number(field.value) || 0)) * 100) / 100;
    }

    percents() {
      return Object.fromEntries(this.fields.map((field) => [field.dataset.side, this.percent(field)]));
    }

    text() {
      const given = Object.entries(this.percents()).filter(([, percent]) => percent);
      return given.map(([side, percent]) => `${side} ${percent}`).join(" ");
    }

    paint() {
      const { naturalWidth, naturalHeight } = this.image;
      const { left, right, top, bottom } = this.percents();
      const grown = [1 + (left + right) / 100, 1 + (top + bottom) / 100];
      const [width, height] = this.size?.length === 2 ? this.size : [naturalWidth, naturalHeight];
      if (!width || !height) return;
      const after = [width * grown[0], height * grown[1]];
      const isLong = Math.max(...after) > LONGEST * Math.min(...after);
      const room = [Math.min(560, window.innerWidth - 62) / after[0], Math.min(420, window.innerHeight - 330) / after[1]];
      const scale = Math.max(0.01, Math.min(...room));
      Object.assign(this.canvas.style, { width: `${after[0] * scale}px`, height: `${after[1] * scale}px` });
      Object.assign(this.image.style, {
        left: `${left / grown[0]}%`,
        top: `${top / grown[1]}%`,
        width: `${100 / grown[0]}%`,
        height: `${100 / grown[1]}%`,
      });
      const said = this.words.extend_grows.replace("{before}", `${width} × ${height}`).replace("{after}", after.map(Math.round).join(" × "));
      window.dom.set(this.find(".extend-said"), isLong ? this.words.extend_too_long : said);
      this.find(".extend-done").disabled = isLong;
    }
  };
})();
