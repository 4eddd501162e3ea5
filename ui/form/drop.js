/* A picture brings its settings. A PNG's pixels stay here; see png_head.js. */
const words = props.words;
const studio = window.studio;
const { set } = window.dom;
const find = window.dom.within(element);
const file = find(".drop-file");
const message = find(".drop-message");
const MOST_HASHED_BYTES = 256 * 1024 * 1024;
const CHECK_MS = 1500;
let awaited = null;
let latest = null;
let started = 0;
let timer = 0;

function base64(bytes) {
  let text = "";
  for (let at = 0; at < bytes.length; at += 32768) text += String.fromCharCode(...bytes.subarray(at, at + 32768));
  return btoa(text);
}

async function hashOf(picture) {
  if (!window.crypto?.subtle || picture.size > MOST_HASHED_BYTES) return null;
  const sum = await window.crypto.subtle.digest("SHA-256", await picture.arrayBuffer());
  return [...new Uint8Array(sum)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/* Of a PNG its texts are sent; of another picture the file itself, which is removed once it is read. */
async function read(picture) {
  const start = new Uint8Array(await picture.slice(0, 8).arrayBuffer());
  if (start[0] !== 0x89 || start[1] !== 0x50) {
    if (picture.size > props.most_file_bytes) throw new RangeError(words.start_too_large.replace("{name}", picture.name));
    return { path: (await upload(picture)).path };
  }
  const head = await studio.pngHead(picture, props);
  return { head: head && base64(head), sha256: await hashOf(picture) };
}

/* either: whether a picture that holds no settings is the init image, as the server answers. */
async function take(picture, either = false) {
  if (!picture) return;
  awaited = null;
  latest = picture;
  window.dispatchEvent(new Event("studio:picture"));
  studio.go("studio");
  try {
    const asked = await read(picture);
    if (latest === picture) trigger("read", { ...asked, name: picture.name, either });
  } catch (error) {
    /* A folder, a file that is gone or locked, or a connection that was cut. */
    show({ error: error instanceof RangeError ? error.message : words.drop_unreadable });
  }
}

function paint() {
  const value = props.value || {};
  const shown = Boolean(value.said || value.error);
  message.hidden = !shown;
  message.classList.toggle("error", Boolean(value.error));
  set(find(".drop-said"), value.error || value.said || "");
  find(".drop-notes").replaceChildren(
    ...(value.notes || []).map((note) => {
      const item = document.createElement("li");
      item.textContent = note;
      return item;
    })
  );
  const ours = value.stage !== null && value.stage !== undefined && Boolean(value.before);
  find(".drop-reproduce").hidden = !ours;
  find(".drop-undo").hidden = !value.before;
  find(".drop-start").hidden = !value.before || !latest;
  const waiting = value.check === "wait" ? "" : value.check || "";
  set(find(".drop-check"), waiting || (ours && !value.sha256 ? words.drop_too_large : ""));
  if (value.check && value.check !== "wait") awaited = null;
  if (shown) message.scrollIntoView({ block: "nearest" });
}

/* What the part says by itself; gradio tells of what the server says alone. */
function show(value) {
  props.value = value;
  paint();
}

/* The run that was asked for is a new one; its stage is compared as soon as its PNG is there. */
function reproduce() {
  const run = document.getElementById("run");
  if (!run || run.disabled) {
    show({ ...props.value, check: words.drop_busy });
    return;
  }
  const { sha256, stage } = props.value;
  awaited = sha256 ? { sha256, stage, not: studio.run?.job, shown: { ...props.value, check: "" } } : null;
  run.click();
}

function check() {
  clearTimeout(timer);
  const run = studio.run;
  if (!awaited || !run?.job || run.job === awaited.not) return;
  if (!run.stages[awaited.stage]?.done) return;
  trigger("check", { ...awaited, job: run.job });
  timer = setTimeout(check, CHECK_MS);
}

find(".drop-open").addEventListener("click", () => file.click());
file.addEventListener("change", () => {
  take(file.files[0]);
  file.value = "";
});
find(".drop-reproduce").addEventListener("click", reproduce);
find(".drop-start").addEventListener("click", () => studio.startFrom(latest));
find(".drop-undo").addEventListener("click", () => trigger("undo", { before: props.value.before, pictures: props.value.pictures }));
find(".drop-close").addEventListener("click", () => {
  /* Emptied rather than hidden, so that the same words are news again. */
  show({});
  find(".drop-open").focus();
});

/* A picture of this page that is dragged says that it is a file too. */
let own = false;
window.addEventListener("dragstart", () => (own = true));
window.addEventListener("dragend", () => (own = false));
const carries = (event) => !own && [...(event.dataTransfer?.types || [])].includes("Files");
const veil = document.createElement("div");
veil.className = "drop-veil";
veil.textContent = words.drop_here;
veil.hidden = true;
element.append(veil);
window.addEventListener("dragover", (event) => {
  if (!carries(event)) return;
  event.preventDefault();
  veil.hidden = false;
});
window.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) veil.hidden = true;
});
window.addEventListener("drop", (event) => {
  veil.hidden = true;
  if (!carries(event)) return;
  event.preventDefault();
  const [picture] = event.dataTransfer.files;
  if (event.target.closest?.(".start")) studio.startFrom?.(picture);
  else take(picture, true);
});
window.addEventListener("paste", (event) => {
  /* Text that also comes as a picture, as from a sheet, is text. */
  if (event.clipboardData?.types.includes("text/plain")) return;
  const picture = [...(event.clipboardData?.files || [])].find((one) => one.type.startsWith("image/"));
  if (picture) take(picture, true);
});
window.addEventListener("studio:run", check);
/* Another picture is handed in: what was wrong with the last one is over. */
window.addEventListener("studio:picture", () => {
  if (props.value?.error) show({});
});

watch("value", () => {
  paint();
  const { start, turn, path } = props.value || {};
  if (!start || turn === started) return;
  started = turn;
  studio.startFrom?.(latest, path);
});
paint();
