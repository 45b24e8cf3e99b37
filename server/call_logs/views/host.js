// How a page comes to its answer: it stands in the page (a file), or a host sends it (MCP Apps, JSON-RPC by postMessage).
// A host's message counts from its window only. Nothing is asked of it but the handshake.

const start = (show) => {
  const main = document.getElementById("main");
  const root = document.documentElement;
  let asked = {};
  let last = null;

  const textOf = (result) =>
    list(result.content).map((block) => table(block).text).filter(given).join("\n");

  const failed = (title, text) =>
    main.replaceChildren(el("section", { class: "trouble", role: "alert", "aria-label": title },
      el("strong", {}, title), text ? el("pre", { dir: "auto" }, text) : ""));

  const render = () => {
    const result = table(last);
    if (result.isError) return failed("This could not be answered", textOf(result) || "No reason was given.");
    const answer = result.structuredContent;
    if (!answer || typeof answer !== "object" || Array.isArray(answer)) {
      return failed("The answer holds nothing that this view can draw", textOf(result));
    }
    try {
      main.replaceChildren(...[show(answer, table(asked), table(result._meta))].flat());
      main.dispatchEvent(new Event("shown"));
    } catch (error) {
      failed("This answer could not be drawn; here it is as text", textOf(result) || JSON.stringify(answer, null, 1));
      console.error(error);
    }
    return undefined;
  };

  const embedded = document.getElementById("given");
  if (embedded) {
    const held = JSON.parse(embedded.textContent);
    [asked, last] = [held.arguments, held.result];
    render();
    return;
  }
  const host = window.parent;
  if (host === window) {
    failed("This page shows an answer of call-logs-mcp inside an MCP host", "It was given none. For a file of its own: call-logs-mcp view, call-logs-mcp report.");
    return;
  }

  root.dataset.host = "";
  const post = (message) => host.postMessage({ jsonrpc: "2.0", ...message }, "*");
  const context = (told) => {
    const { theme, displayMode, styles } = table(told);
    if (theme === "light" || theme === "dark") root.dataset.theme = theme;
    if (["inline", "fullscreen", "pip"].includes(displayMode)) root.dataset.mode = displayMode;
    const variables = table(table(styles).variables);
    for (const font of ["--font-sans", "--font-mono"]) {
      if (typeof variables[font] === "string") root.style.setProperty(font, variables[font]);
    }
  };
  let height = 0;
  const resized = () => {
    const now = Math.ceil(root.getBoundingClientRect().height);
    if (now !== height) post({ method: "ui/notifications/size-changed", params: { width: Math.ceil(root.clientWidth), height: (height = now) } });
  };
  const notified = {
    "ui/notifications/tool-input": (params) => { asked = params.arguments; if (last) render(); },
    "ui/notifications/tool-result": (params) => { last = params; render(); },
    "ui/notifications/tool-cancelled": () => { if (!last) failed("The question was cancelled", ""); },
    "ui/notifications/host-context-changed": context,
  };
  const answered = { ping: true, "ui/resource-teardown": true };
  window.addEventListener("message", (event) => {
    const message = table(event.data);
    if (event.source !== host || message.jsonrpc !== "2.0") return;
    if (typeof message.method === "string" && given(message.id)) {
      post(Object.hasOwn(answered, message.method) ? { id: message.id, result: {} }
        : { id: message.id, error: { code: -32601, message: "This view has no such method." } });
    } else if (typeof message.method === "string") {
      if (Object.hasOwn(notified, message.method)) notified[message.method](table(message.params));
    } else if (message.id === 1) {
      context(table(message.result).hostContext);
      post({ method: "ui/notifications/initialized", params: {} });
      new ResizeObserver(resized).observe(root);
    }
  });
  post({
    id: 1,
    method: "ui/initialize",
    params: {
      protocolVersion: "2026-01-26",
      appInfo: { name: "call-logs-mcp", title: document.title, version: "1" },
      appCapabilities: { availableDisplayModes: ["inline", "fullscreen"] },
    },
  });
};
