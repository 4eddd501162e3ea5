/*
 * The pictures of a comparison at one place and one scale: over each other or next to each other.
 *   new studio.CompareStage(section, {words, moved(), zoomed(text)})
 *     moved: the place came to rest; zoomed: the scale of what is seen, as a text
 *   paint(items, pair)    items: the cards with their letters; pair: what the server measured of the first two
 *   whenSeen(callback)    calls back once the first two can be seen
 *   setMode(name), flip(index, keep), flipBack()
 *   key(event)            acts on a key of the viewer; first() the viewer that is seen
 *   place                 {x, y, zoom} where the visitor went, null before; goTo(place) goes there
 */
(() => {
  const studio = (window.studio = window.studio || {});
  const { set } = window.dom;
  const SETTLE_MS = 250;

  studio.CompareStage = class {
    constructor(section, acts) {
      this.acts = acts;
      this.node = section.querySelector(".cmp-stage");
      this.empty = section.querySelector(".cmp-empty");
      this.panes = [...section.querySelectorAll(".cmp-pane:not(.cmp-heat)")];
      this.heatPane = section.querySelector(".cmp-heat");
      this.handle = section.querySelector(".cmp-handle");
      this.viewers = [];
      this.heat = null;
      this.items = [];
      this.pair = null;
      this.mode = "slider";
      this.part = 50;
      // Which picture Flip shows, and which one it comes back to.
      this.shown = 0;
      this.kept = 0;
      this.place = null;
      this.linked = "";
      this.unlink = null;
      this.slideByPointer();
      this.slideByKey();
    }

    get ready() {
      return this.items.length > 1;
    }

    viewer(index) {
      if (!this.viewers[index]) this.viewers[index] = this.prepare(this.panes[index]);
      return this.viewers[index];
    }

    prepare(pane) {
      const made = studio.viewer(pane.querySelector(".cmp-canvas"), { label: "" });
      let timer = 0;
      made.addHandler("animation", () => this.paintZoom());
      made.addHandler("animation-finish", () => {
        clearTimeout(timer);
        timer = setTimeout(() => {
          if (pane.hidden) return;
          this.place = made.deep.place();
          this.paintZoom();
          this.acts.moved();
        }, SETTLE_MS);
      });
      return made;
    }

    first() {
      return this.viewers[this.mode === "flip" ? this.shown : 0];
    }

    paintZoom() {
      const one = this.mode === "heat" ? this.heat || this.first() : this.first();
      this.acts.zoomed(one && this.ready ? `${Math.round(one.deep.percent())} %` : "");
    }

    paint(items, pair) {
      this.items = items;
      this.pair = pair;
      if (this.shown >= items.length) this.kept = this.shown = 0;
      this.paintPanes();
    }

    /* Which panes there are to see; the pictures stay loaded while the mode changes. */
    paintPanes() {
      const { mode, items, ready, panes } = this;
      this.node.dataset.mode = ready ? mode : "empty";
      this.node.dataset.count = String(items.length);
      panes.forEach((pane, index) => {
        const there = ready && index < items.length && mode !== "heat" && (mode !== "slider" || index < 2);
        pane.hidden = !there;
        pane.classList.toggle("under", mode === "flip" && index !== this.shown);
        if (index < items.length) set(pane.querySelector(".cmp-tag"), [items[index].letter, items[index].name].filter(Boolean).join(" · "));
      });
      this.heatPane.hidden = !(ready && mode === "heat");
      this.handle.hidden = !(ready && mode === "slider");
      this.paintHandle();
      this.empty.hidden = ready;
      if (!ready) return;
      items.forEach((item, index) => this.viewer(index).deep.show(item.card));
      if (mode === "heat") this.paintHeat();
      this.relink();
    }

    paintHeat() {
      const { pair, heatPane, acts } = this;
      const tag = heatPane.querySelector(".cmp-tag");
      if (!pair || !pair.card) {
        set(tag, (pair && pair.error) || acts.words.compare_measuring);
        return;
      }
      if (!this.heat) this.heat = this.prepare(heatPane);
      this.heat.deep.show(pair.card);
      set(tag, `A − B · ${pair.scale}`);
    }

    relink() {
      const group = this.items.map((_, index) => this.viewers[index]);
      if (this.heat) group.push(this.heat);
      const name = `${this.items.length}${this.heat ? "h" : ""}`;
      if (name === this.linked) return;
      if (this.unlink) this.unlink();
      this.linked = name;
      this.unlink = studio.link(group);
    }

    goTo(place) {
      this.place = place;
      const one = this.viewer(0);
      one.addOnceHandler("deep-shown", () => {
        one.deep.goTo(place, true);
        // An address may ask for a place outside the picture.
        one.viewport.applyConstraints(true);
      });
    }

    whenSeen(then) {
      if (this.viewers.slice(0, 2).every((viewer) => viewer.deep.seen())) then();
      else setTimeout(() => this.whenSeen(then), SETTLE_MS);
    }

    reset() {
      this.mode = "slider";
      this.part = 50;
      this.kept = this.shown = 0;
      for (const viewer of this.viewers.filter(Boolean)) viewer.addOnceHandler("deep-shown", () => viewer.deep.home());
    }

    setMode(mode) {
      this.mode = mode;
      this.kept = this.shown = 0;
      this.paintPanes();
      this.paintZoom();
    }

    flip(index, keep) {
      if (index >= this.items.length) return;
      this.shown = index;
      if (keep) this.kept = index;
      this.panes.forEach((pane, at) => pane.classList.toggle("under", at !== index));
      this.paintZoom();
    }

    /* The divider of Slider */
    paintHandle() {
      this.node.style.setProperty("--part", `${this.part}%`);
      this.handle.setAttribute("aria-valuenow", String(Math.round(this.part)));
    }

    slide(part) {
      this.part = Math.min(100, Math.max(0, part));
      this.paintHandle();
    }

    slideByPointer() {
      const { handle, node } = this;
      handle.addEventListener("pointerdown", (event) => {
        handle.setPointerCapture(event.pointerId);
        handle.classList.add("held");
      });
      handle.addEventListener("pointermove", (event) => {
        if (!handle.classList.contains("held")) return;
        const box = node.getBoundingClientRect();
        this.slide(((event.clientX - box.left) / box.width) * 100);
      });
      for (const name of ["pointerup", "pointercancel"])
        handle.addEventListener(name, () => handle.classList.remove("held"));
    }

    slideByKey() {
      const steps = { ArrowLeft: -2, ArrowRight: 2, PageDown: -10, PageUp: 10, Home: -100, End: 100 };
      this.handle.addEventListener("keydown", (event) => {
        if (!(event.key in steps)) return;
        event.preventDefault();
        event.stopPropagation();
        this.slide(this.part + steps[event.key]);
      });
    }
  };
})();
