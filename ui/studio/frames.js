/*
 * Before the first picture: studio.frames(element) returns what shows the sizes of planned stages, none once there
 * is a picture, as frames in true proportion, each in the corner of the next.
 */
window.studio.frames = (element) => (planned) => {
  element.hidden = !planned.length;
  if (!planned.length) return;
  const largest = planned[planned.length - 1];
  element.style.aspectRatio = `${largest.width} / ${largest.height}`;
  element.replaceChildren(
    ...planned.map((stage) => {
      const frame = document.createElement("i");
      frame.style.width = `${(stage.width / largest.width) * 100}%`;
      frame.style.height = `${(stage.height / largest.height) * 100}%`;
      return frame;
    })
  );
};
