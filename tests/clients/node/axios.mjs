// axios, with nothing set up in code.
import axios from "axios";
import { column, url, headers, upload, show, count, done } from "./common.mjs";

if (column === "upload") await axios.post(url, upload, { headers });
else if (column === "sse" || column === "download") {
    const answer = await axios.get(url, { headers, responseType: "stream" });
    await (column === "sse" ? show : count)(answer.data);
} else {
    const answer = await axios.get(url, { headers });
    console.log(answer.headers, answer.data);
}
done();
