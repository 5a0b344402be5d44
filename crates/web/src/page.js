"use strict";
(() => {
  const every = 5000;
  const refresh = async () => {
    try {
      const response = await fetch("/", { cache: "no-store", signal: AbortSignal.timeout(every) });
      const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
      const now = fresh.getElementById("now");
      if (!now) throw new Error("not our page");
      document.getElementById("now").replaceWith(document.adoptNode(now));
      document.title = fresh.title;
    } catch {
      document.getElementById("link").textContent = "· no answer from Farol: what is shown is old";
      document.title = "no answer · Farol";
    }
  };
  setInterval(() => { if (!document.hidden) refresh(); }, every);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
})();
