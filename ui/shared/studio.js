/* What every part of the page shares: which place is shown, the address, and what the run at hand is. */
/* Until it is set, window.studio is the element with that id. */
window.studio = (() => {
  const FIRST = "studio";
  /* Parameters of the address that belong to one place and go when it is left. */
  const OWN = ["items", "mode", "at", "study"];
  const frame = () => document.getElementById("studio");
  const known = (place) => places.includes(place);

  let places = [FIRST];
  let place = FIRST;
  let detail = {};
  let run = null;
  let texts = { counts: [], notices: [] };

  const tell = (name, value) => window.dispatchEvent(new CustomEvent(`studio:${name}`, { detail: value }));

  /* Change parameters of the address; null takes one away. A sandboxed frame may forbid it, and nothing is lost. */
  function address(changes, { push = false, state = window.history.state } = {}) {
    const next = new URL(window.location.href);
    for (const [name, value] of Object.entries(changes)) {
      if (value === null || value === undefined || value === "") next.searchParams.delete(name);
      else next.searchParams.set(name, value);
    }
    try {
      if (push && next.href !== window.location.href) window.history.pushState(state, "", next);
      else window.history.replaceState(state, "", next);
    } catch {
      /* The page goes on without an address to come back to. */
    }
  }

  /* A browser of another language drops a comma typed into a number, and 7,5 would be 75. */
  document.addEventListener("beforeinput", (event) => {
    if (event.data !== "," || event.target.type !== "number") return;
    event.preventDefault();
    document.execCommand("insertText", false, ".");
  });

  function show(next, carried) {
    place = known(next) ? next : FIRST;
    detail = carried || {};
    frame()?.setAttribute("data-place", place);
    document.documentElement.scrollTop = 0;
    tell("place", { ...detail, place });
  }

  function go(next, carried = {}) {
    if (!known(next)) return;
    const left = Object.fromEntries(place === next ? [] : OWN.map((name) => [name, null]));
    const state = { studio: { place: next, detail: carried } };
    address({ ...left, place: next === FIRST ? null : next }, { push: place !== next, state });
    show(next, carried);
  }

  /* Keep a row of buttons at the end of an element: what would help, by label; a press gives its detail. */
  function suggestions(place, offered, label, act) {
    let row = place.querySelector(".suggestions");
    const key = JSON.stringify(offered);
    if (row?.dataset.shown === key || (!row && !offered.length)) return;
    const focused = row?.contains(document.activeElement);
    row?.remove();
    if (!offered.length) {
      /* The button that helped is gone; who pressed it goes on next to the form. */
      if (focused) document.querySelector("#notice button, #run")?.focus();
      return;
    }
    row = document.createElement("div");
    row.className = "suggestions";
    row.dataset.shown = key;
    row.setAttribute("role", "group");
    row.setAttribute("aria-label", label);
    for (const suggestion of offered) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = suggestion.label;
      button.title = suggestion.title;
      button.addEventListener("click", () => act(suggestion.detail));
      row.append(button);
    }
    place.append(row);
    if (focused) row.querySelector("button").focus();
  }

  function restore(state) {
    const kept = state?.studio;
    const asked = new URLSearchParams(window.location.search).get("place");
    if (kept && kept.place === (asked || FIRST)) show(kept.place, kept.detail);
    else show(asked, {});
    if (run?.job) address({ job: run.job });
  }

  window.addEventListener("popstate", (event) => restore(event.state));

  return {
    go,
    address,
    suggestions,
    /* The masthead calls it with the places that this page has. */
    start(names) {
      places = names;
      restore(window.history.state);
    },
    has: known,
    /* Ask the studio for what its screen offers for a run: "open" or "resume" with {job}. */
    act(name, what) {
      go(FIRST);
      tell("act", { name, what });
    },
    get place() {
      return place;
    },
    get detail() {
      return detail;
    },
    /* Calls back with the detail whenever a place is entered, at once where it is shown already. */
    onPlace(name, callback) {
      window.addEventListener("studio:place", (event) => event.detail.place === name && callback(event.detail));
      if (place === name && frame()?.dataset.place === name) callback({ ...detail, place });
    },
    /* {job, state, headline, left, progress, stages: [{index, done, title}]} of the run on the screen, or null. */
    get run() {
      return run;
    },
    /* The stages of the run to come; the screen shows them until there is a run. */
    setOutline(next) {
      tell("outline", next);
    },
    /* The tiles that the run to come redraws, {width, height, boxes} of the picture before them; null for none. */
    setTiles(next) {
      tell("tiles", next);
    },
    /* What a sketch of the form changes with, "" for none, and why there is none: {key, off}. */
    setInstant(next) {
      tell("instant", next);
    },
    /* Tokens of the form's texts and hints about them: {counts, notices}. */
    setTexts(next) {
      texts = next;
      tell("texts", texts);
    },
    get texts() {
      return texts;
    },
    /* The sketch that the screen shows over the run until another one is shown; null takes it away. */
    setSketch(next) {
      tell("sketch", next);
    },
    setRun(next) {
      run = next;
      tell("run", run);
    },
  };
})();
