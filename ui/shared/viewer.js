/*
 * Deep zoom for every place of the page, on OpenSeadragon:
 *   studio.viewer(element, {label, margin})  an OpenSeadragon viewer with our defaults; its `deep` is described below
 *   studio.tileSource(tiles)                 what OpenSeadragon needs to know of a stage's tiles (layers.js)
 *   studio.link(viewers)                     keeps them at one place and one scale; returns what lets them go
 * A picture is one unit wide, whatever its pixels: a place in one stage is the same place in all others.
 *
 * viewer.deep:
 *   show(stage, {home})  shows a stage's card ({width, height, proxy, tiles, png, alt}); null clears. The place
 *                        stays, home goes to the whole picture. What was there stays until the new can be seen.
 *   seen()               whether the stage last given can be seen yet
 *   percent(), atFit(), atFull()         the zoom: 100 is one pixel of the picture on one of the screen
 *   fit(), full(point), toggle(point), zoomBy(factor, point), key(event)
 *   setMargins({left, top, right, bottom})   the room in px that a whole picture leaves free
 *   place(), goTo(place, immediately)    {x, y, zoom}: the centre, and the picture's width over the viewer's
 *   view()                               {left, top, width, height}: the part in view, as shares of the picture
 * and OpenSeadragon's own events, with "deep-shown" when a stage can be seen.
 */
(() => {
  const studio = (window.studio = window.studio || {});
  const OSD = window.OpenSeadragon;
  const CRISP_PERCENT = 300;
  const MOST_PERCENT = 1600;
  const STEP = 1.5;
  // The browser reports a missing tile already, and it is not a fault of the page.
  const { debug, error } = window.console;
  OSD.console = Object.create(window.console, {
    error: { value: (text, ...rest) => (/^Tile /.test(text) ? debug : error)(text, ...rest) },
  });
  const calm = window.matchMedia("(prefers-reduced-motion: reduce)");

  function options(element) {
    const gestures = { clickToZoom: false, dblClickToZoom: false, flickEnabled: !calm.matches };
    return {
      element,
      drawer: "canvas",
      showNavigationControl: false,
      keyboardNavEnabled: false,
      preserveViewport: true,
      preserveImageSizeOnResize: true,
      autoHideControls: false,
      // Just over one: a picture smaller than the viewer stays in its middle, a larger one keeps to its edges.
      visibilityRatio: 1.00001,
      constrainDuringPan: true,
      animationTime: calm.matches ? 0 : 0.45,
      springStiffness: 9,
      minScrollDeltaTime: 0,
      immediateRender: true,
      // Tiles overlap, so that none has to be put together with others before it is enlarged.
      smoothTileEdgesMinZoom: Infinity,
      maxTilesPerFrame: 4,
      imageLoaderLimit: 8,
      maxImageCacheCount: 120,
      // A tile that fails is looked into by layers.js, which asks for it again where that helps.
      tileRetryMax: 0,
      gestureSettingsMouse: { ...gestures },
      gestureSettingsTouch: { ...gestures },
      gestureSettingsPen: { ...gestures },
    };
  }

  studio.viewer = (element, { label = "", margin = 0 } = {}) => {
    const viewer = OSD(options(element));
    const { viewport } = viewer;
    const ratio = () => window.devicePixelRatio || 1;
    const cssPx = (current) => viewport.deltaPixelsFromPointsNoRotate(new OSD.Point(1, 0), current).x;
    const zoomOf = (percent) => {
      const wanted = ((percent / 100) * (deep.stage()?.width || 1)) / ratio();
      return (viewport.getZoom() * wanted) / cssPx(false);
    };
    const near = (one, other) => Math.abs(one / other - 1) < 0.004;
    let smooth = true;
    let fitted = true;
    let refit = false;

    const deep = {
      settles: true,
      seen: () => Boolean(layers.now?.seen),
      stage: () => layers.stage,
      show: (stage, { home = false } = {}) => {
        layers.show(stage, home);
        viewer.canvas.setAttribute("aria-label", stage?.alt || label);
        limit();
      },
      devicePx: () => cssPx(true) * ratio(),
      percent: () => (layers.stage ? (100 * deep.devicePx()) / layers.stage.width : 100),
      atFit: () => near(viewport.getZoom(), viewport.getHomeZoom()),
      atFull: () => Boolean(layers.stage) && near(viewport.getZoom(), zoomOf(100)),
      home: () => {
        viewport.maxZoomLevel = 0;
        limit();
        viewport.goHome(true);
      },
      fit: () => viewport.goHome(calm.matches),
      full: (point = null) => deep.zoomTo(zoomOf(100), point),
      toggle: (point = null) => {
        if (!deep.atFit()) deep.fit();
        else deep.zoomTo(near(zoomOf(100), viewport.getHomeZoom()) ? zoomOf(200) : zoomOf(100), point);
      },
      zoomBy: (factor, point = null) => deep.zoomTo(viewport.getZoom() * factor, point),
      zoomTo: (zoom, point) => {
        const [least, most] = [viewport.minZoomLevel, viewport.maxZoomLevel];
        viewport.zoomTo(Math.min(most, Math.max(least, zoom)), point, calm.matches);
        viewport.applyConstraints(calm.matches);
      },
      view: () => {
        const { x, y, width, height } = viewport.getBoundsNoRotateWithMargins(true);
        const tall = layers.stage.height / layers.stage.width;
        const span = (start, length, whole) => {
          const [from, to] = [start, start + length].map((end) => Math.min(1, Math.max(0, end / whole)));
          return [from, to - from];
        };
        const [[left, wide], [top, high]] = [span(x, width, 1), span(y, height, tall)];
        return { left, top, width: wide, height: high };
      },
      place: () => ({ ...xy(viewport.getCenter()), zoom: viewport.getZoom() }),
      goTo: ({ x, y, zoom }, immediately = false) => {
        viewport.zoomTo(zoom, null, immediately);
        viewport.panTo(new OSD.Point(x, y), immediately);
      },
      follow: (other) => {
        viewport.zoomTo((viewport.getZoom(true) * other.deep.cssPx()) / cssPx(true), null, true);
        viewport.panTo(other.viewport.getCenter(true), true);
      },
      cssPx: () => cssPx(true),
      key: (event) => press(event),
      setMargins: (sides) => {
        const before = cssPx(false);
        viewport.setMargins(sides);
        limit();
        if (fitted) viewport.goHome(true);
        else viewport.zoomTo((viewport.getZoom() * before) / cssPx(false), null, true);
      },
    };
    const layers = new studio.Layers(viewer, deep);
    viewer.deep = deep;

    const xy = ({ x, y }) => ({ x, y });
    /* Never smaller than the whole picture or its own pixels, and never so large that nothing can be recognised. */
    function limit() {
      const stage = layers.stage;
      if (!stage) return;
      const home = viewport.getHomeZoom();
      viewport.minZoomLevel = Math.min(home, zoomOf(100));
      viewport.maxZoomLevel = Math.max(viewport.maxZoomLevel || 0, 4 * home, zoomOf(MOST_PERCENT));
    }

    /* At rest the picture is on whole pixels of the screen, so that 1:1 is neither blurred nor doubled. */
    function settle() {
      if (!deep.settles || !layers.stage) return;
      const corner = viewport.pixelFromPointNoRotate(new OSD.Point(0, 0), false).times(ratio());
      const off = new OSD.Point(corner.x - Math.round(corner.x), corner.y - Math.round(corner.y));
      if (Math.abs(off.x) + Math.abs(off.y) < 0.002) return;
      viewport.panBy(viewport.deltaPointsFromPixels(off.divide(ratio()), false), true);
    }

    function changed() {
      if (refit) deep.home();
      refit = false;
      fitted = deep.atFit();
      // A small picture that fills a large screen is smooth as long as no one looks closer.
      if (smooth !== (fitted || deep.percent() <= CRISP_PERCENT)) {
        smooth = !smooth;
        viewer.drawer.setImageSmoothingEnabled(smooth);
      }
      // A whole picture has nothing to be moved to: the finger scrolls the page.
      OSD.setElementTouchAction(viewer.canvas, fitted ? "pan-y" : "none");
      OSD.setElementTouchAction(viewer.container, fitted ? "pan-y" : "none");
      if (layers.stage) layers.sharpen();
    }

    const KEYS = {
      "+": () => deep.zoomBy(STEP),
      "=": () => deep.zoomBy(STEP),
      "-": () => deep.zoomBy(1 / STEP),
      _: () => deep.zoomBy(1 / STEP),
      0: () => deep.fit(),
      z: () => (deep.atFull() ? deep.fit() : deep.full()),
      ArrowLeft: () => pan(-1, 0),
      ArrowRight: () => pan(1, 0),
      ArrowUp: () => pan(0, -1),
      ArrowDown: () => pan(0, 1),
    };
    function pan(x, y) {
      const { width, height } = viewport.getBounds();
      viewport.panBy(new OSD.Point((x * width) / 6, (y * height) / 6), calm.matches);
      viewport.applyConstraints(calm.matches);
    }
    function press(event) {
      const act = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
      if (!act || !layers.stage || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return false;
      event.preventDefault();
      act();
      return true;
    }

    viewer.addHandler("canvas-scroll", (event) => {
      event.preventDefaultAction = true;
      const { deltaY, deltaMode, ctrlKey } = event.originalEvent;
      const px = deltaY * (deltaMode ? 33 : 1) * (ctrlKey ? 5 : 1);
      deep.zoomBy(Math.min(2, Math.max(0.5, Math.exp(-px * 0.002))), viewport.pointFromPixel(event.position, true));
    });
    viewer.addHandler("canvas-double-click", (event) => deep.toggle(viewport.pointFromPixel(event.position, true)));
    viewer.addHandler("viewport-change", changed);
    viewer.addHandler("deep-shown", changed);
    viewer.addHandler("animation-finish", settle);
    // OpenSeadragon still changes the zoom after it has reported a new size; the next change is the last word.
    viewer.addHandler("resize", () => {
      refit = fitted;
    });
    viewer.canvas.addEventListener("keydown", press);
    viewer.canvas.setAttribute("role", "img");
    viewer.canvas.setAttribute("aria-label", label);
    deep.setMargins({ left: margin, top: margin, right: margin, bottom: margin });
    return viewer;
  };

  studio.link = (viewers) => {
    let leader = null;
    let copying = false;
    const follow = () => {
      copying = true;
      for (const other of viewers) if (other !== leader) other.deep.follow(leader);
      copying = false;
    };
    const bound = viewers.map((viewer) => {
      const lead = () => {
        if (copying || leader === viewer) return;
        leader = viewer;
        for (const other of viewers) other.deep.settles = other === leader;
      };
      const moved = () => {
        if (leader === viewer) follow();
      };
      const resized = () => window.requestAnimationFrame(() => leader && follow());
      const handlers = { pan: lead, zoom: lead, "viewport-change": moved, resize: resized, "deep-shown": resized };
      for (const [name, handler] of Object.entries(handlers)) viewer.addHandler(name, handler);
      return { viewer, handlers };
    });
    return () => {
      for (const { viewer, handlers } of bound) {
        viewer.deep.settles = true;
        for (const [name, handler] of Object.entries(handlers)) viewer.removeHandler(name, handler);
      }
    };
  };
})();
