/* The picture that a control reads: its file goes to the server, which answers with its reference. */
const words = props.words;
const { set } = window.dom;
const find = window.dom.within(element);
const file = find(".steering-file");
const open = find(".steering-open");
const note = find(".steering-note");
let busy = false;

function paint() {
  const value = props.value || {};
  const has = Boolean(value.reference);
  find(".steering-asked").hidden = !value.asks && !has;
  open.hidden = has;
  open.disabled = busy;
  set(open, busy ? words.start_busy : words.control_open);
  find(".steering-card").hidden = !has;
  const thumb = find(".steering-thumb");
  thumb.hidden = !value.thumb;
  if (value.thumb && thumb.getAttribute("src") !== value.thumb) thumb.src = value.thumb;
  set(find(".steering-size"), value.size || "");
  const error = find(".steering-error");
  error.hidden = !value.error;
  set(error, value.error || "");
  note.hidden = !value.note;
  set(note, value.note || "");
  note.title = (value.unusable || []).join("\n");
}

function say(error) {
  busy = false;
  props.value = { ...props.value, error };
  paint();
}

async function take(picture) {
  if (!picture || busy) return;
  if (picture.size > props.most_bytes) {
    say(words.start_too_large.replace("{name}", picture.name));
    return;
  }
  busy = true;
  paint();
  try {
    trigger("take", { path: (await upload(picture)).path, name: picture.name });
  } catch {
    say(words.start_unsent);
  }
}

for (const button of [open, find(".steering-change")]) button.addEventListener("click", () => file.click());
file.addEventListener("change", () => {
  take(file.files[0]);
  file.value = "";
});
find(".steering-remove").addEventListener("click", () => trigger("remove"));
watch("value", () => {
  busy = false;
  paint();
});
paint();
