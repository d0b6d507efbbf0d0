// undici as a package, with the agent that reads the environment.
import { EnvHttpProxyAgent, WebSocket, fetch } from "undici";
import { column, url, headers, upload, show, count, done } from "./common.mjs";

const dispatcher = new EnvHttpProxyAgent();
if (column === "websocket") {
    const socket = new WebSocket(url, { dispatcher, headers });
    const received = [];
    await new Promise((resolve, reject) => {
        socket.onerror = event => reject(event.error ?? new Error("websocket"));
        socket.onopen = () => ["one", "two"].forEach(text => socket.send(text));
        socket.onmessage = event => received.push(event.data) === 2 && socket.close();
        socket.onclose = resolve;
    });
    if (received.join() !== "one,two") throw new Error(received.join());
} else {
    const more = column === "upload" ? { method: "POST", body: upload } : {};
    const answer = await fetch(url, { dispatcher, headers, ...more });
    if (answer.status !== 200) throw new Error(`${answer.status}`);
    if (column === "sse") await show(answer.body);
    else if (column === "download") await count(answer.body);
    else console.log([...answer.headers], await answer.text());
}
done();
