// octokit, with nothing set up in code.
import { Octokit } from "octokit";
import { column, base, url, count, done } from "./common.mjs";

const octokit = new Octokit({ auth: process.env.DEMO_KEY, baseUrl: base, retry: { enabled: false }, throttle: { enabled: false } });
if (column === "upload") await octokit.request("POST /upload", { data: "u".repeat(5_000_000), headers: { "content-type": "application/octet-stream" } });
else if (column === "download") {
    const answer = await octokit.request(`GET ${new URL(url).pathname}`, { request: { parseSuccessResponseBody: false } });
    await count(answer.data);
} else {
    const answer = await octokit.request(`GET ${new URL(url).pathname}`);
    console.log(answer.data);
}
done();
