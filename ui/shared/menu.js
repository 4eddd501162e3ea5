/* A menu that opens from a button: studio.menu(button, [{label, act}]). One at a time; the arrow keys move in it. */
(() => {
  let open = null;

  function close(refocus) {
    if (!open) return;
    const { list, button } = open;
    open = null;
    list.remove();
    button.setAttribute("aria-expanded", "false");
    if (refocus) button.focus();
  }

  function place(list, button) {
    const gap = 6;
    const box = button.getBoundingClientRect();
    const left = Math.min(Math.max(gap, box.right - list.offsetWidth), window.innerWidth - list.offsetWidth - gap);
    const above = box.top - list.offsetHeight - gap;
    list.style.left = `${left}px`;
    list.style.top = `${above > gap ? above : box.bottom + gap}px`;
  }

  function move(list, event) {
    const items = [...list.children];
    const at = items.indexOf(document.activeElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: items.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    items[(to + items.length) % items.length].focus();
  }

  window.studio.menu = (button, items) => {
    const again = open?.button === button;
    close(again);
    if (again || !items.length) return;
    const list = document.createElement("div");
    list.className = "menu";
    list.setAttribute("role", "menu");
    list.setAttribute("aria-label", button.getAttribute("aria-label") || "");
    for (const { label, act } of items) {
      const item = document.createElement("button");
      item.type = "button";
      item.setAttribute("role", "menuitem");
      item.textContent = label;
      item.addEventListener("click", () => {
        close(true);
        act();
      });
      list.append(item);
    }
    list.addEventListener("keydown", (event) => {
      if (event.key === "Escape" || event.key === "Tab") {
        // Escape closes the menu and nothing else; a run goes on.
        if (event.key === "Escape") event.preventDefault();
        event.stopPropagation();
        close(true);
      } else move(list, event);
    });
    document.getElementById("studio").append(list);
    button.setAttribute("aria-expanded", "true");
    open = { list, button };
    place(list, button);
    list.firstElementChild.focus({ preventScroll: true });
  };

  document.addEventListener("pointerdown", (event) => {
    if (open && !open.list.contains(event.target) && !open.button.contains(event.target)) close(false);
  });
  /* It stays with its button; where that is scrolled out of sight, there is nothing to stay with. */
  function follow() {
    if (!open) return;
    const { top, bottom, left, right } = open.button.getBoundingClientRect();
    const inSight = bottom > 0 && top < window.innerHeight && right > 0 && left < window.innerWidth;
    if (inSight && open.button.isConnected) place(open.list, open.button);
    else close(false);
  }
  window.addEventListener("scroll", follow, { capture: true, passive: true });
  window.addEventListener("resize", follow);
})();
