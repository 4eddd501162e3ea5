/*
 * A finished example next to its own first stage, divided by a line that is dragged or moved by keys:
 *   studio.split(section, viewer, words) returns
 *   show(pair)   pair: {before, after}, stages of one run; null for none
 * It is laid on the picture, so that it stays at its place at any zoom; the handle follows it next to the canvas.
 */
window.studio.split = (section, viewer, words) => {
  const { attribute, made, set } = window.dom;
  const STEPS = { ArrowLeft: -2, ArrowRight: 2, PageDown: -10, PageUp: 10, Home: -100, End: 100 };
  const layer = made("div", "split");
  const low = made("div", "split-low");
  const image = made("img");
  const tags = [made("span", "split-tag"), made("span", "split-tag after")];
  const handle = made("button", "split-handle");
  let part = 58;
  let shown = "";

  image.alt = "";
  image.draggable = false;
  low.append(image);
  handle.type = "button";
  for (const [name, value] of [["role", "slider"], ["aria-label", words.split], ["aria-valuemin", "0"], ["aria-valuemax", "100"]])
    handle.setAttribute(name, value);
  layer.append(low, ...tags);
  handle.hidden = true;
  section.querySelector(".deep").after(handle);

  function follow() {
    if (handle.hidden) return;
    const [box, around] = [layer.getBoundingClientRect(), section.getBoundingClientRect()];
    const top = Math.max(0, box.top - around.top);
    handle.style.left = `${box.left - around.left + (box.width * part) / 100}px`;
    handle.style.top = `${top}px`;
    handle.style.height = `${Math.max(0, Math.min(around.height, box.bottom - around.top) - top)}px`;
  }
  for (const name of ["update-viewport", "animation", "animation-finish", "resize"]) viewer.addHandler(name, follow);

  function slide(next) {
    part = Math.min(100, Math.max(0, next));
    layer.style.setProperty("--part", `${part}%`);
    attribute(handle, "aria-valuenow", String(Math.round(part)));
    follow();
  }

  handle.addEventListener("pointerdown", (event) => handle.setPointerCapture(event.pointerId));
  handle.addEventListener("pointermove", (event) => {
    if (!handle.hasPointerCapture(event.pointerId)) return;
    const box = layer.getBoundingClientRect();
    slide(((event.clientX - box.left) / box.width) * 100);
  });
  handle.addEventListener("keydown", (event) => {
    if (!(event.key in STEPS)) return;
    event.preventDefault();
    event.stopPropagation();
    slide(part + STEPS[event.key]);
  });

  function show(pair) {
    const key = pair ? `${pair.before.proxy} ${pair.after.proxy}` : "";
    if (key === shown) return;
    if (shown) viewer.removeOverlay(layer);
    shown = key;
    handle.hidden = !pair;
    if (!pair) return;
    image.src = pair.before.proxy;
    set(tags[0], pair.before.title);
    set(tags[1], pair.after.title);
    const { width, height } = pair.after;
    viewer.addOverlay({ element: layer, location: new window.OpenSeadragon.Rect(0, 0, 1, height / width) });
    slide(part);
  }

  return { show };
};
