// Part of every page that is served in development. Reloads the page when a new version of the app
// has taken over, and shows what is wrong while one does not load.
(() => {
  let state = document.currentScript.dataset.state;
  let overlay = null;

  function show(error) {
    overlay?.remove();
    overlay = document.createElement("div");
    overlay.id = "perigee-overlay";
    // Set through the DOM, which no Content-Security-Policy forbids.
    overlay.style.cssText =
      "position:fixed;inset:0;z-index:2147483647;overflow:auto;box-sizing:border-box;" +
      "padding:5vh 5vw;background:rgba(20,20,24,.94);color:#f4f4f5;" +
      "font:15px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;text-align:left";
    const title = document.createElement("div");
    title.style.cssText = "color:#ff8080;font-weight:bold;margin-bottom:1em";
    title.textContent = "The app does not load";
    const text = document.createElement("pre");
    text.style.cssText =
      "margin:0;font:inherit;color:inherit;background:none;white-space:pre-wrap;overflow-wrap:anywhere";
    text.textContent = error;
    const hint = document.createElement("div");
    hint.style.cssText = "margin-top:2em;color:#a1a1aa";
    hint.textContent = "This goes away when it loads again. Escape shows the page behind it.";
    overlay.append(title, text, hint);
    document.documentElement.append(overlay);
  }

  addEventListener("keydown", (event) => {
    if (event.key === "Escape") overlay?.remove();
  });

  // A page that nobody looks at holds no connection: browsers have few of them for each host.
  async function visible() {
    while (document.hidden) {
      await new Promise((go) => {
        document.addEventListener("visibilitychange", go, { once: true });
      });
    }
  }

  async function listen() {
    for (;;) {
      await visible();
      let news;
      try {
        const answer = await fetch(`/__perigee/reload?state=${state}`, { cache: "no-store" });
        news = await answer.json();
      } catch {
        await new Promise((go) => setTimeout(go, 500)); // the server is down, or starts anew
        continue;
      }
      if (news.state === state) continue;
      state = news.state;
      if (news.error === null) {
        location.reload();
        return;
      }
      show(news.error);
    }
  }

  listen();
})();
