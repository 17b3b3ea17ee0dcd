// Loaded before a server. Its input ends when whoever started it is gone, however that happened: then it goes too.
process.stdin.on("end", () => process.exit(0)).on("error", () => process.exit(0)).resume();
process.stdin.unref(); // waiting for it must not keep the server from ending by itself
