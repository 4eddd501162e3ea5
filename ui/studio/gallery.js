/*
 * The row of finished runs that come with the model, below the cards of the stages.
 *
 *   has(job)     whether a run is one of them
 *   paint(job)   marks the one on the screen; once a run of the visitor's own is there, the row is gone
 */
window.studio.gallery = (element, examples, words, open) => {
  const { attribute } = window.dom;
  const buttons = examples.map((example) => {
    const item = document.createElement("li");
    const button = document.createElement("button");
    const image = document.createElement("img");
    button.type = "button";
    button.title = example.prompt;
    attribute(button, "aria-label", words.gallery_open.replace("{prompt}", example.prompt));
    Object.assign(image, { src: example.thumb, alt: "", loading: "lazy" });
    button.addEventListener("click", () => open(example.job));
    // One that was removed on the disk is not offered.
    image.addEventListener("error", () => item.remove());
    button.append(image);
    item.append(button);
    element.firstElementChild.append(item);
    return button;
  });
  const has = (job) => examples.some((example) => example.job === job);
  return {
    has,
    paint(job) {
      element.hidden = !examples.length || !(job === null || has(job));
      buttons.forEach((button, index) => attribute(button, "aria-current", examples[index].job === job ? "true" : null));
    },
  };
};
