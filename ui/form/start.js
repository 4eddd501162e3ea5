/* The picture that a run starts from: its file goes to the server, which answers with its reference. */
const words = props.words;
const studio = window.studio;
const { set } = window.dom;
const find = window.dom.within(element);
const file = find(".start-file");
const open = find(".start-open");
let busy = false;

function paint() {
  const value = props.value || {};
  const has = Boolean(value.reference);
  open.hidden = has;
  open.disabled = busy;
  set(open, busy ? words.start_busy : words.start_open);
  find(".start-card").hidden = !has;
  const thumb = find(".start-thumb");
  thumb.hidden = !value.thumb;
  for (const name of [".start-region", ".start-extend"]) find(name).hidden = !value.thumb;
  if (value.thumb && thumb.getAttribute("src") !== value.thumb) thumb.src = value.thumb;
  set(find(".start-size"), value.size || "");
  const error = find(".start-error");
  error.hidden = !value.error;
  set(error, value.error || "");
  if (value.error) error.scrollIntoView({ block: "nearest" });
}

/* What the part says by itself; what it shows of a picture stays. */
function say(error) {
  busy = false;
  props.value = { ...props.value, error };
  paint();
}

/* sent: where the server holds the file already. */
async function take(picture, sent = "") {
  if (!picture || busy) return;
  studio.go("studio");
  if (picture.size > props.most_bytes) {
    say(words.start_too_large.replace("{name}", picture.name));
    return;
  }
  busy = true;
  window.dispatchEvent(new Event("studio:picture"));
  try {
    const path = sent || (await upload(picture)).path;
    trigger("take", { path, name: picture.name });
  } catch {
    /* A folder, a file that is gone, or a connection that was cut. */
    say(words.start_unsent);
  }
}

open.addEventListener("click", () => file.click());
find(".start-change").addEventListener("click", () => file.click());
file.addEventListener("change", () => {
  take(file.files[0]);
  file.value = "";
});
const region = new studio.Region(find(".region-dialog"), (text) => trigger("region", { text }));
find(".start-region").addEventListener("click", () => {
  region.open(find(".start-thumb").src, document.querySelector("#field-region textarea, #field-region input")?.value || "");
});
const extend = new studio.Extend(find(".extend-dialog"), words, props.most_percent, (text) => trigger("extend", { text }));
find(".start-extend").addEventListener("click", () => {
  const held = document.querySelector("#field-extend textarea, #field-extend input")?.value || "";
  extend.open(find(".start-thumb").src, find(".start-size").textContent, held);
});
find(".start-remove").addEventListener("click", () => {
  trigger("remove");
  props.value = {};
  paint();
  open.focus();
});

/* Other parts hand a picture over, or a stage of a run. */
studio.startFrom = take;
window.addEventListener("studio:act", ({ detail }) => {
  if (detail.name === "init_image") trigger("init_image", detail.what);
});

/* Another picture is handed in, here or for its settings: what was wrong with the last one is over. */
window.addEventListener("studio:picture", () => {
  props.value = { ...props.value, error: "" };
  paint();
});

watch("value", () => {
  busy = false;
  paint();
});
paint();
