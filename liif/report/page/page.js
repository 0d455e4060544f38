// The page: its language, and the viewer.
"use strict";

(() => {
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
  const place = document.querySelector(".viewer");
  if (place && data.pictures.length) viewer = new Viewer(place, data, words);
  root.dataset.ready = "true";
})();
