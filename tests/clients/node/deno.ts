// Deno: fetch and WebSocket, with nothing set up in code.
const [column, url] = Deno.args;
const headers = { authorization: `Bearer ${Deno.env.get("DEMO_KEY")}` };
if (column === "websocket") {
    const socket = new WebSocket(url);
    const received: string[] = [];
    await new Promise((resolve, reject) => {
        socket.onerror = event => reject((event as ErrorEvent).error ?? event);
        socket.onopen = () => ["one", "two"].forEach(text => socket.send(text));
        socket.onmessage = event => received.push(event.data) === 2 && socket.close();
        socket.onclose = resolve;
    });
    if (received.join() !== "one,two") throw new Error(received.join());
} else {
    const more = column === "upload" ? { method: "POST", body: new Uint8Array(5_000_000) } : {};
    const answer = await fetch(url, { headers, ...more });
    if (answer.status !== 200) throw new Error(`${answer.status}`);
    if (column === "sse") for await (const part of answer.body!) await Deno.stdout.write(part);
    else if (column === "download") {
        let length = 0;
        for await (const part of answer.body!) length += part.length;
        console.log("got", length);
    } else console.log([...answer.headers], await answer.text());
}
console.log("done");
Deno.exit(0);
