// Loaded by Node before the command's own code. Node reads the proxy's address from the environment by itself since 22.21 and
// 24.5; for those before, this takes what `fetch`, `http` and `https` send with their default agents through the proxy.
"use strict";
(() => {
    const done = Symbol.for("agent-vault.proxy");
    const [major, minor] = process.versions.node.split(".").map(Number);
    const byItself = major > 24 || (major === 24 && minor >= 5) || (major === 22 && minor >= 21);
    const address = process.env.HTTPS_PROXY;
    const stranger = process.versions.bun || process.versions.deno || process.versions.electron;
    if (byItself || stranger || !address || globalThis[done]) return;
    globalThis[done] = true;

    const net = require("node:net");
    const tls = require("node:tls");
    const http = require("node:http");
    const https = require("node:https");
    const MAX_HEAD_BYTES = 16384;

    const bare = host => host.replace(/^\[|\]$/g, "").toLowerCase();
    const proxy = new URL(address);
    const proxyHost = bare(proxy.hostname);
    const proxyPort = Number(proxy.port) || 80;
    const login = Buffer.from(`${decodeURIComponent(proxy.username)}:${decodeURIComponent(proxy.password)}`).toString("base64");
    const exceptions = (process.env.NO_PROXY || "")
        .split(",")
        .map(entry => entry.trim().toLowerCase().replace(/^\*?\./, ""))
        .filter(entry => entry !== "");

    // What libraries send to the proxy themselves is for the proxy, not for a tunnel through it.
    const goesDirect = (host, port) =>
        (host === proxyHost && port === proxyPort) ||
        exceptions.some(entry => entry === "*" || host === entry || host.endsWith(`.${entry}`));

    function tunnel(host, port, callback) {
        const socket = net.connect(proxyPort, proxyHost);
        const authority = `${host.includes(":") ? `[${host}]` : host}:${port}`;
        let head = Buffer.alloc(0);
        const settle = (error, opened) => {
            socket.off("readable", read).off("error", fail).off("end", ended);
            if (error) socket.destroy();
            callback(error, opened);
        };
        const fail = error => settle(error);
        const ended = () => settle(new Error("the proxy closed the connection before the tunnel was open"));
        const read = () => {
            for (let part; (part = socket.read()) !== null; ) {
                head = Buffer.concat([head, part]);
                const end = head.indexOf("\r\n\r\n");
                if (end < 0 && head.length <= MAX_HEAD_BYTES) continue;
                const [line] = head.toString("latin1").split("\r\n", 1);
                if (end < 0 || !/^HTTP\/1\.[01] 200\b/.test(line)) return settle(new Error(`the proxy opened no tunnel to ${authority}: ${line}`));
                const rest = head.subarray(end + 4);
                settle(null, socket);
                if (rest.length > 0) socket.unshift(rest);
                return;
            }
        };
        socket.on("error", fail).on("end", ended).on("readable", read);
        socket.write(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\nProxy-Authorization: Basic ${login}\r\n\r\n`);
    }

    for (const [agent, secure] of [[http.globalAgent, false], [https.globalAgent, true]]) {
        const direct = agent.createConnection;
        agent.createConnection = function (options, callback) {
            const host = bare(String(options.host || options.hostname || "localhost"));
            const port = Number(options.port) || (secure ? 443 : 80);
            if (options.socketPath || typeof callback !== "function" || goesDirect(host, port)) return direct.call(this, options, callback);
            tunnel(host, port, (error, socket) => {
                if (error) return callback(error);
                if (!secure) return callback(null, socket);
                const servername = options.servername ?? (net.isIP(host) ? "" : host);
                callback(null, tls.connect({ ...options, path: undefined, socket, servername }));
            });
        };
    }

    // For `fetch`, through what every release offers: the dispatcher that all of its requests go to. It is made when Node first
    // loads its client, which is not done before somebody asks for it.
    const DISPATCHER = Symbol.for("undici.globalDispatcher.1");
    function connect(options, callback) {
        const secure = options.protocol === "https:";
        const host = bare(options.hostname);
        const port = Number(options.port) || (secure ? 443 : 80);
        const begin = socket => {
            if (!secure) return callback(null, socket);
            const servername = options.servername || (net.isIP(host) ? "" : host);
            const session = tls.connect({ socket, servername, ALPNProtocols: ["http/1.1"] });
            session.once("error", callback);
            session.once("secureConnect", () => {
                session.off("error", callback);
                callback(null, session);
            });
        };
        if (!goesDirect(host, port)) return tunnel(host, port, (error, socket) => (error ? callback(error) : begin(socket)));
        const socket = net.connect(port, host);
        socket.once("error", callback);
        socket.once("connect", () => {
            socket.off("error", callback);
            begin(socket);
        });
    }
    const plain = globalThis.fetch;
    if (typeof plain !== "function") return;
    let installed = false;
    globalThis.fetch = function fetch(...request) {
        if (!installed) {
            installed = true;
            void globalThis.Headers;
            const current = globalThis[DISPATCHER];
            // A dispatcher of another kind is the program's own choice.
            if (current?.constructor?.name === "Agent") globalThis[DISPATCHER] = new current.constructor({ connect });
        }
        return plain.apply(this, request);
    };
})();
