/*
 * The picture area of the Studio: studio.picture(section, words) returns
 *   show(now, fresh)  now: {stage, source, live}, null for none; fresh: another run's, so the whole of it is shown
 *   key(event)        acts on a key pressed anywhere on the page; tells whether it was one of ours
 * A finished stage is looked at through studio.viewer; while steps run their preview is over it.
 */
window.studio.picture = (section, words) => {
  const { attribute, made, svg } = window.dom;
  const find = window.dom.within(section);
  const narrow = window.matchMedia("(width <= 760px)");
  const preview = find(".picture");
  const map = find(".map");
  const percent = find(".percent");
  const download = find(".download");
  const viewer = window.studio.viewer(find(".deep"), { label: words.viewer });
  const { deep } = viewer;
  let now = null;
  let source = "";
  let room = null;
  let tiles = null;
  let marked = "";
  let mark = null;

  function show(next, fresh) {
    now = next;
    section.classList.toggle("live", Boolean(now && now.live));
    if (!now) clear();
    else if (now.live) cover();
    else {
      deep.show(now.stage, { home: fresh });
      if (deep.seen()) uncover();
    }
    paintTools();
    paintMap();
    paintTiles();
  }

  /* The tiles that the run to come would redraw, over the picture that it would enlarge. */
  function paintTiles() {
    const stage = now && !now.live ? now.stage : null;
    const fits = stage && tiles && stage.width === tiles.width && stage.height === tiles.height;
    const path = (fits ? tiles.boxes : []).map(([x, y, w, h]) => `M${x} ${y}h${w}v${h}h${-w}z`).join("");
    const tall = stage ? stage.height / stage.width : 1;
    if (marked === path + tall) return;
    marked = path + tall;
    if (mark) viewer.removeOverlay(mark);
    mark = path ? made("div", "tile-map") : null;
    if (!mark) return;
    const drawing = svg("svg", { viewBox: "0 0 1 1", preserveAspectRatio: "none", "aria-hidden": "true" });
    drawing.append(svg("path", { d: path }));
    mark.append(drawing);
    viewer.addOverlay({ element: mark, location: new window.OpenSeadragon.Rect(0, 0, 1, tall) });
  }
  window.addEventListener("studio:tiles", ({ detail }) => {
    tiles = detail;
    paintTiles();
  });

  function clear() {
    deep.show(null);
    source = "";
    preview.hidden = true;
    preview.removeAttribute("src");
    find(".deep").classList.add("covered");
  }

  /* Previews are swapped once decoded, so that the old one stays until the new one can be seen. */
  function cover() {
    const { stage } = now;
    const wanted = now.source;
    if (source === wanted) return;
    source = wanted;
    const next = new Image();
    next.src = wanted;
    const swap = () => {
      if (source !== wanted || !now?.live) return;
      preview.src = wanted;
      preview.alt = stage.alt;
      preview.hidden = false;
      find(".deep").classList.add("covered");
    };
    next.decode().then(swap, swap);
  }

  function uncover() {
    if (!now || now.live) return;
    source = "";
    preview.hidden = true;
    find(".deep").classList.remove("covered");
    paintTools();
    paintMap();
  }

  function paintTools() {
    const stage = now && !now.live ? now.stage : null;
    find(".tools").hidden = !stage;
    if (!stage) return;
    const said = `${Math.round(deep.percent())} %`;
    if (percent.textContent !== said) percent.textContent = said;
    attribute(find(".zoom-fit"), "aria-pressed", String(deep.atFit()));
    attribute(find(".zoom-full"), "aria-pressed", String(deep.atFull()));
    attribute(download, "href", stage.png);
    attribute(download, "download", stage.png ? stage.file : null);
    attribute(download, "aria-disabled", stage.png ? null : "true");
    attribute(download, "title", stage.png ? stage.file : words.download_wait);
  }

  /* The whole picture in small, and which part of it is in view. */
  function paintMap() {
    const stage = now && !now.live ? now.stage : null;
    const view = stage ? deep.view() : null;
    map.hidden = !view || (view.width >= 0.999 && view.height >= 0.999);
    if (map.hidden) return;
    const image = map.querySelector("img");
    attribute(image, "src", stage.proxy);
    map.style.aspectRatio = `${stage.width} / ${stage.height}`;
    const box = map.querySelector("i").style;
    for (const side of ["left", "top", "width", "height"]) box[side] = `${view[side] * 100}%`;
  }

  function lookAt(event) {
    const box = map.getBoundingClientRect();
    const { width, height } = now.stage;
    const x = (event.clientX - box.left) / box.width;
    const y = ((event.clientY - box.top) / box.height) * (height / width);
    deep.goTo({ ...deep.place(), x, y });
    viewer.viewport.applyConstraints();
  }
  map.addEventListener("pointerdown", (event) => {
    map.setPointerCapture(event.pointerId);
    lookAt(event);
  });
  map.addEventListener("pointermove", (event) => map.hasPointerCapture(event.pointerId) && lookAt(event));

  /* Some browsers and frames allow no full screen; there the area fills the page instead. */
  const large = () => document.fullscreenElement === section || section.classList.contains("filling");
  async function enlarge() {
    if (document.fullscreenElement === section) document.exitFullscreen();
    else if (section.classList.contains("filling")) section.classList.remove("filling");
    else {
      try {
        await section.requestFullscreen();
      } catch {
        section.classList.add("filling");
      }
    }
    enlarged();
  }
  function enlarged() {
    attribute(find(".enlarge"), "aria-pressed", String(large()));
    const sides = ["left", "top", "right", "bottom"];
    const style = getComputedStyle(preview);
    const next = Object.fromEntries(sides.map((side) => [side, parseFloat(style[side]) || 0]));
    if (JSON.stringify(next) === JSON.stringify(room)) return;
    room = next;
    deep.setMargins(room);
  }
  // What is laid over the picture leaves the whole of it free.
  new MutationObserver(enlarged).observe(section, { attributeFilter: ["class"] });
  document.addEventListener("fullscreenchange", enlarged);
  narrow.addEventListener("change", enlarged);
  document.addEventListener(
    "keydown",
    (event) => {
      if (event.key !== "Escape" || !section.classList.contains("filling")) return;
      event.preventDefault();
      event.stopPropagation();
      enlarge();
    },
    true
  );

  // So that the arrows still move the picture after a button was pressed.
  find(".tools").addEventListener("keydown", deep.key);
  find(".zoom-fit").addEventListener("click", deep.fit);
  find(".zoom-full").addEventListener("click", () => deep.full());
  find(".zoom-in").addEventListener("click", () => deep.zoomBy(1.5));
  find(".zoom-out").addEventListener("click", () => deep.zoomBy(1 / 1.5));
  find(".enlarge").addEventListener("click", enlarge);
  // Drawn in the next frame, and only then to be seen.
  viewer.addHandler("deep-shown", () => window.requestAnimationFrame(() => deep.seen() && uncover()));
  viewer.addHandler("animation", () => {
    paintTools();
    paintMap();
  });
  enlarged();

  return {
    viewer,
    show,
    key(event) {
      if (!now || now.live) return false;
      if (event.key.toLowerCase() !== "f") return !event.key.startsWith("Arrow") && deep.key(event);
      event.preventDefault();
      enlarge();
      return true;
    },
  };
};
