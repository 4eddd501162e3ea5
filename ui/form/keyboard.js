/* What the form's controls lack: a name for each group of radios, one stop of the Tab key for each slider. */
(() => {
  const { attribute } = window.dom;

  function mend(fields) {
    for (const group of fields.querySelectorAll("fieldset.field"))
      attribute(group, "aria-label", group.querySelector("[data-testid=block-info]")?.textContent.trim());
    for (const range of fields.querySelectorAll(".field input[type=range]")) {
      const number = numberOf(range);
      if (number && number.tabIndex >= 0) number.tabIndex = -1;
    }
  }

  const numberOf = (range) => range.closest(".field").querySelector("input[type=number]");

  /* A digit that is typed on a slider goes into the number next to it. */
  function type(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || !/^[0-9.]$/.test(event.key)) return;
    const number = event.target.closest("input[type=range]") && numberOf(event.target);
    number?.focus();
    number?.select();
  }

  /* Gradio draws what is folded when it is opened. */
  const watcher = new MutationObserver(() => {
    const fields = document.getElementById("fields");
    if (!fields) return;
    if (!fields.dataset.typed) {
      fields.dataset.typed = "";
      fields.addEventListener("keydown", type);
      watcher.disconnect();
      watcher.observe(fields, { childList: true, subtree: true });
    }
    mend(fields);
  });
  watcher.observe(document.documentElement, { childList: true, subtree: true });

  /* One stop of the Tab key for a row of buttons; the arrows go from one to the next. */
  window.studio.oneStop = (row) => {
    const buttons = () => [...row.querySelectorAll("button")].filter((button) => !button.hidden && !button.disabled);
    const settle = (chosen) => {
      for (const button of row.querySelectorAll("button")) button.tabIndex = button === chosen ? 0 : -1;
    };
    settle(buttons()[0]);
    row.addEventListener("focusin", ({ target }) => target.closest("button") && settle(target.closest("button")));
    row.addEventListener("keydown", (event) => {
      const all = buttons();
      const at = all.indexOf(document.activeElement);
      const next = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: -1 };
      if (at < 0 || !(event.key in next)) return;
      event.preventDefault();
      event.stopPropagation();
      all[(next[event.key] + all.length) % all.length].focus();
    });
  };
})();
