// The page: its language, and the viewer.
"use strict";

const page = (() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const root = document.documentElement;
  let viewer = null;

  function words(key, values = {}) {
    const text = data.words[key][root.lang === "en" ? 0 : 1];
    return text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
  }

  function speak(language) {
    root.lang = language;
    for (const element of document.querySelectorAll("[data-word]")) {
      element.textContent = words(element.dataset.word);
    }
    for (const element of document.querySelectorAll("[data-label]")) {
      element.setAttribute("aria-label", words(element.dataset.label));
    }
    for (const element of document.querySelectorAll("[data-alt]")) {
      element.alt = words(element.dataset.alt);
    }
    for (const button of document.querySelectorAll(".languages button")) {
      button.setAttribute("aria-pressed", String(button.lang === language));
    }
    document.title = data.title[language === "en" ? 0 : 1];
    if (viewer) viewer.label();
    document.dispatchEvent(new Event("language"));
  }

  function remembered() {
    try { return localStorage.getItem("liif-language"); } catch { return null; }
  }

  for (const button of document.querySelectorAll(".languages button")) {
    button.addEventListener("click", () => {
      speak(button.lang);
      try { localStorage.setItem("liif-language", button.lang); } catch { /* a private window */ }
    });
  }
  speak(remembered() ?? (/^zh\b/.test(navigator.language) ? "zh-CN" : "en"));
  for (const button of document.querySelectorAll(".copy")) {
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(button.dataset.copy);
        button.setAttribute("aria-label", words("copied"));
        button.classList.add("done");
        setTimeout(() => { button.setAttribute("aria-label", words("copy")); button.classList.remove("done"); }, 1500);
      } catch {
        getSelection().selectAllChildren(button.previousElementSibling); // to copy by hand
      }
    });
  }

  // Folded chapters open for a link into them, and for printing.
  function unfold() {
    const target = /^#[\w-]+$/.test(location.hash) && document.querySelector(location.hash);
    if (!target) return;
    let folded = target.closest("details");
    for (; folded; folded = folded.parentElement.closest("details")) folded.open = true;
    target.scrollIntoView();
  }
  addEventListener("hashchange", unfold);
  addEventListener("beforeprint", () => {
    for (const details of document.querySelectorAll("details")) details.open = true;
  });

  const place = document.querySelector(".viewer");
  if (place && data.pictures.length) viewer = new Viewer(place, data, words);
  unfold();
  root.dataset.ready = "true";

  // For pages whose pictures arrive later.
  function begin() {
    viewer = new Viewer(place, data, words);
    return viewer;
  }
  return { data, words, begin };
})();
