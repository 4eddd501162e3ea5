/* A picture brings its settings: the bytes before its pixels go to the server, the pixels stay here. */
const words = props.words;
const studio = window.studio;
const { set } = window.dom;
const find = window.dom.within(element);
const file = find(".drop-file");
const message = find(".drop-message");
const MOST_HASHED_BYTES = 256 * 1024 * 1024;
const CHECK_MS = 1500;
/* Each chunk is a read of its own; a file of millions of empty ones would be read for hours. */
const MOST_CHUNKS = 2000;
let awaited = null;
let latest = null;
let timer = 0;

/* Chunks are skipped by their length; only texts and the header are read, however large the file. */
async function headOf(picture) {
  const parts = [picture.slice(0, 8)];
  let at = 8;
  let size = 8;
  for (let count = 0; count < MOST_CHUNKS && at + 8 <= picture.size; count += 1) {
    const view = new DataView(await picture.slice(at, at + 8).arrayBuffer());
    const length = view.getUint32(0);
    const kind = String.fromCharCode(...[4, 5, 6, 7].map((place) => view.getUint8(place)));
    if (kind === "IDAT" || kind === "IEND") {
      parts.push(picture.slice(at, at + 8));
      break;
    }
    if (["IHDR", "tEXt", "iTXt", "zTXt"].includes(kind)) {
      size += length + 12;
      if (size > props.most_bytes) return null;
      parts.push(picture.slice(at, at + length + 12));
    }
    at += length + 12;
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

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

async function read(picture) {
  const start = new Uint8Array(await picture.slice(0, 8).arrayBuffer());
  const isPng = start[0] === 0x89 && start[1] === 0x50;
  const head = isPng ? await headOf(picture) : start;
  return { name: picture.name, head: head && base64(head), sha256: isPng ? await hashOf(picture) : null };
}

/* Whether a picture's text tells settings; one that does not is a picture to start from. */
async function tellsSettings(picture) {
  try {
    const start = new Uint8Array(await picture.slice(0, 8).arrayBuffer());
    if (start[0] !== 0x89 || start[1] !== 0x50) return false;
    const head = await headOf(picture);
    if (!head) return true;
    const text = new TextDecoder("latin1").decode(head);
    return ["parameters\0", "gspn_studio\0"].some((name) => text.includes(name));
  } catch {
    return true;
  }
}

async function takeEither(picture, ontoStart) {
  if (!picture) return;
  if (!ontoStart && (await tellsSettings(picture))) take(picture);
  else studio.startFrom?.(picture);
}

async function take(picture) {
  if (!picture) return;
  awaited = null;
  latest = picture;
  window.dispatchEvent(new Event("studio:picture"));
  studio.go("studio");
  try {
    trigger("read", await read(picture));
  } catch {
    /* A folder, or a file that is gone or locked. */
    show({ error: words.drop_unreadable });
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
find(".drop-undo").addEventListener("click", () => trigger("undo", { before: props.value.before }));
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
  takeEither(event.dataTransfer.files[0], Boolean(event.target.closest?.(".start")));
});
window.addEventListener("paste", (event) => {
  /* Text that also comes as a picture, as from a sheet, is text. */
  if (event.clipboardData?.types.includes("text/plain")) return;
  const picture = [...(event.clipboardData?.files || [])].find((one) => one.type.startsWith("image/"));
  if (picture) takeEither(picture, false);
});
window.addEventListener("studio:run", check);
/* Another picture is handed in: what was wrong with the last one is over. */
window.addEventListener("studio:picture", () => {
  if (props.value?.error) show({});
});

watch("value", paint);
paint();
