// What the Node clients share: arguments, the key, and how a stream of events is shown.
export const [column, url, base] = process.argv.slice(2);
export const headers = { authorization: `Bearer ${process.env.DEMO_KEY}` };
export const upload = Buffer.alloc(5_000_000, "u");

export async function show(stream) {
    for await (const part of stream) process.stdout.write(Buffer.from(part));
}

export async function count(stream) {
    let length = 0;
    for await (const part of stream) length += part.length;
    console.log("got", length);
}

export function done() {
    console.log("done");
    process.exit(0);
}
