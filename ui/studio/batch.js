/*
 * The pictures of a batch in a row, below the cards of the stages.
 *
 *   studio.batch(element, act)   act(name, detail): show another picture, or take the shown one further
 *   paint(batch, actions)               actions: those of the run on the screen
 */
window.studio.batch = (element, act) => {
  const { attribute, made, set } = window.dom;
  const list = element.querySelector("ol");
  const next = element.querySelector(".next");
  let offered = null;

  next.addEventListener("click", () => offered && act(offered.name, offered.detail));
  window.studio.oneStop(list);

  function entry(picture, index) {
    let item = list.children[index];
    if (!item) {
      item = document.createElement("li");
      const button = made("button", "one");
      const image = document.createElement("img");
      button.type = "button";
      Object.assign(image, { alt: "", draggable: false });
      button.append(image, made("span"));
      button.addEventListener("click", () => act("pick", { job: button.dataset.job }));
      item.append(button);
      list.append(item);
    }
    const button = item.firstElementChild;
    const [image, said] = button.children;
    button.dataset.job = picture.job;
    button.classList.toggle("running", picture.state === "running");
    attribute(button, "aria-label", picture.label);
    attribute(button, "title", picture.label);
    attribute(button, "aria-pressed", String(picture.shown));
    button.style.aspectRatio = `${picture.width} / ${picture.height}`;
    image.hidden = !picture.source;
    if (picture.source) attribute(image, "src", picture.source);
    set(said, picture.source && picture.state !== "running" ? "" : picture.said);
  }

  /* The Tab key comes to the picture that is shown, and the arrows go on from there. */
  function settle(batch) {
    if (list.contains(document.activeElement)) return;
    const stop = Math.max(0, batch.findIndex((picture) => picture.shown));
    [...list.children].forEach((item, index) => {
      item.firstElementChild.tabIndex = index === stop ? 0 : -1;
    });
  }

  return {
    paint(batch, actions) {
      element.hidden = !batch.length;
      while (list.children.length > batch.length) list.lastChild.remove();
      batch.forEach(entry);
      settle(batch);
      offered = actions.find(({ name }) => name === "resume" || name === "extend");
      next.hidden = !offered;
      if (offered) set(next, offered.label);
      element.querySelector("p").hidden = Boolean(offered);
    },
  };
};
