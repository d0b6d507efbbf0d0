// Bun: fetch with nothing set up in code; its WebSocket is told of the proxy.
import { column, url, headers, upload, show, count, done } from "./common.mjs";

if (column === "websocket") {
    const socket = new WebSocket(url, { headers, proxy: process.env.HTTPS_PROXY });
    const received = [];
    await new Promise((resolve, reject) => {
        socket.onerror = event => reject(event.error ?? new Error(event.message ?? "websocket"));
        socket.onopen = () => ["one", "two"].forEach(text => socket.send(text));
        socket.onmessage = event => received.push(event.data) === 2 && socket.close();
        socket.onclose = resolve;
    });
    if (received.join() !== "one,two") throw new Error(received.join());
} else {
    const answer = await fetch(url, column === "upload" ? { method: "POST", body: upload, headers } : { headers });
    if (answer.status !== 200) throw new Error(`${answer.status}`);
    if (column === "sse") await show(answer.body);
    else if (column === "download") await count(answer.body);
    else console.log([...answer.headers], await answer.text());
}
done();
