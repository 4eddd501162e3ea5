/*
 * The finished stage that is pinned as A, with which later runs are compared. It stays until it is let go.
 *
 *   studio.pin(section, words, {changed, press})   section: the picture area; changed: called once A is another;
 *                                                  press: called with the stage in the picture, by its button
 *     now()                  its reference, "job.stage"; null for none
 *     is(ref)                whether a stage is A
 *     toggle(stage)          pins {ref, job, title, width, height, proxy}, lets it go where it is A already
 *     match(job, stages)     the index of the finished stage of A's size in another run, null for none
 *     action(ref)            what a stage's menu offers
 *     paint(ref)             ref: of the stage that the picture shows, null for none
 */
window.studio.pin = (section, words, { changed, press }) => {
  const { attribute, set } = window.dom;
  const find = window.dom.within(section);
  const KEY = "gspn-studio-pin";
  const button = find(".pin");
  const chip = find(".pinned");
  let pinned = kept();
  let shown = null;

  /* A browser may forbid storage; then a reload lets A go. */
  function kept() {
    try {
      const found = JSON.parse(window.sessionStorage.getItem(KEY));
      return found?.ref ? found : null;
    } catch {
      return null;
    }
  }

  function keep(next) {
    pinned = next;
    try {
      if (next) window.sessionStorage.setItem(KEY, JSON.stringify(next));
      else window.sessionStorage.removeItem(KEY);
    } catch {
      /* It is pinned all the same. */
    }
    changed();
  }

  const is = (ref) => Boolean(pinned && ref && pinned.ref === ref);

  function toggle({ ref, job, title, width, height, proxy }) {
    keep(is(ref) ? null : { ref, job, title, width, height, proxy });
  }

  function paint(ref) {
    shown = ref;
    button.hidden = !shown;
    attribute(button, "aria-pressed", String(is(shown)));
    chip.hidden = !pinned;
    section.classList.toggle("has-pinned", Boolean(pinned));
    if (!pinned) return;
    attribute(find(".pinned img"), "src", pinned.proxy);
    set(find(".pinned span"), pinned.title);
  }

  button.addEventListener("click", () => press(shown));
  find(".unpin").addEventListener("click", () => {
    keep(null);
    (button.hidden ? document.querySelector("#run") : button)?.focus();
  });

  return {
    now: () => pinned?.ref ?? null,
    is,
    toggle,
    match(job, stages) {
      if (!pinned || !job || job === pinned.job) return null;
      const alike = ({ state, width, height }) =>
        state === "done" && width === pinned.width && height === pinned.height;
      const found = stages.findLastIndex(alike);
      return found < 0 ? null : found;
    },
    action: (ref) => ({ name: "pin", label: is(ref) ? words.unpin : words.pin, detail: { ref } }),
    paint,
  };
};
