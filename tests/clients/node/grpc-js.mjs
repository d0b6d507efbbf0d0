// gRPC in JavaScript, with nothing set up in code but TLS.
import grpc from "@grpc/grpc-js";
import { column, base, headers, done } from "./common.mjs";

const same = message => message;
const client = new grpc.Client(`${new URL(base).host}:443`, grpc.credentials.createSsl());
const metadata = new grpc.Metadata();
metadata.set("authorization", headers.authorization);
const piece = Buffer.alloc(50_000, "p");
const path = call => `/grpc.testing.Echo/${call}`;

async function total(call) {
    let length = 0;
    for await (const message of call) length += message.length;
    return length;
}

if (column === "upload") {
    const call = client.makeBidiStreamRequest(path("Bidi"), same, same, metadata);
    for (let n = 0; n < 100; n++) call.write(piece);
    call.end();
    const length = await total(call);
    if (length !== 5_000_000) throw new Error(`${length}`);
} else if (column === "download") {
    metadata.set("x-count", "100");
    console.log("got", await total(client.makeServerStreamRequest(path("ServerStream"), same, same, piece, metadata)));
} else {
    await new Promise((resolve, reject) => {
        client.makeUnaryRequest(path("Unary"), same, same, Buffer.from("one"), metadata, error => (error ? reject(error) : resolve()));
    });
}
done();
