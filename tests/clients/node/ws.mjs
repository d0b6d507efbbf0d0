// ws: it knows no proxy by itself and is given an agent.
import { HttpsProxyAgent } from "https-proxy-agent";
import { WebSocket } from "ws";
import { url, headers, done } from "./common.mjs";

const socket = new WebSocket(url, { headers, agent: new HttpsProxyAgent(process.env.HTTPS_PROXY) });
const received = [];
await new Promise((resolve, reject) => {
    socket.on("error", reject);
    socket.on("open", () => ["one", "two"].forEach(text => socket.send(text)));
    socket.on("message", data => received.push(String(data)) === 2 && socket.close());
    socket.on("close", resolve);
});
if (received.join() !== "one,two") throw new Error(received.join());
done();
