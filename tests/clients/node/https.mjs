// Node's own https module with its default agent.
import https from "node:https";
import { column, url, headers, upload, show, count, done } from "./common.mjs";

const answer = await new Promise((resolve, reject) => {
    const request = https.request(url, { headers, method: column === "upload" ? "POST" : "GET" }, resolve);
    request.on("error", reject).end(column === "upload" ? upload : undefined);
});
if (answer.statusCode !== 200) throw new Error(`${answer.statusCode}`);
if (column === "download") await count(answer);
else await show(answer);
done();
