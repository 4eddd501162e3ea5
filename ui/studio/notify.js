/*
 * A notification when a run is done: studio.notify(button, words, title) returns
 *   paint({state, job}, said)   said: what it is to say
 * The browser is asked only when the button is pressed; while the page is looked at there is nothing to notify of.
 */
window.studio.notify = (button, words, title) => {
  const { attribute, set } = window.dom;
  const KEY = "gspn-studio-notify";
  const LIVE = ["queued", "running"];
  let live = null;

  function wanted() {
    try {
      return window.localStorage.getItem(KEY) === "on";
    } catch {
      return false;
    }
  }

  function keep(on) {
    try {
      window.localStorage.setItem(KEY, on ? "on" : "off");
    } catch {
      /* Then it is asked again on the next page. */
    }
  }

  const allowed = () => "Notification" in window && Notification.permission === "granted";
  const on = () => allowed() && wanted();

  button.addEventListener("click", async () => {
    if (on()) keep(false);
    else keep(allowed() || (await Notification.requestPermission()) === "granted");
    draw();
  });

  function draw() {
    button.hidden = live === null || !("Notification" in window) || Notification.permission === "denied";
    attribute(button, "aria-pressed", String(on()));
    set(button, on() ? words.notify_on : words.notify);
  }

  return {
    paint({ state, job }, said) {
      const ended = live !== null && live === job && !LIVE.includes(state);
      live = LIVE.includes(state) ? job : null;
      if (ended && on() && document.hidden) {
        const shown = new Notification(title, { body: window.studio.language.said(said), tag: job });
        shown.onclick = () => window.focus();
      }
      draw();
    },
  };
};
