// The page is whole without this; it only makes it fresher. Parts that changed come as HTML, made where the page was made.
"use strict";

const main = document.querySelector("main[data-live]");

if (main !== null) {
  const events = new EventSource(main.dataset.live);
  events.addEventListener("message", (event) => {
    for (const [name, html] of Object.entries(JSON.parse(event.data))) {
      const section = document.getElementById(name);
      // Nothing is taken from under somebody who reads or walks through it by keyboard.
      if (section !== null && !section.contains(document.activeElement) && !selected(section)) {
        section.innerHTML = html;
      }
    }
  });
  window.addEventListener("pagehide", () => events.close());
}

function selected(section) {
  const selection = window.getSelection();
  return selection !== null && !selection.isCollapsed && selection.containsNode(section, true);
}
