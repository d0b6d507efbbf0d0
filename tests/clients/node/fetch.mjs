// Node's own fetch, with nothing set up in code.
import { column, url, headers, upload, show, count, done } from "./common.mjs";

const answer = await fetch(url, column === "upload" ? { method: "POST", body: upload, headers } : { headers });
if (answer.status !== 200) throw new Error(`${answer.status}`);
if (column === "sse") await show(answer.body);
else if (column === "download") await count(answer.body);
else console.log([...answer.headers], await answer.text());
done();
