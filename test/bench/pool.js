// nodemailer with a pool of 4 connections; jobs from a file of JSON lines. It keeps no record of what it sent.
//
//     node pool.js FOLDER-OF-NODE_MODULES JOBS.jsonl PORT
//
// Ends its work with the line "done", and itself when standard input ends.
const fs = require("fs");
const path = require("path");
const readline = require("readline");
const { once } = require("events");
const [folder, file, port] = process.argv.slice(2);
const nodemailer = require(path.join(folder, "node_modules", "nodemailer"));

async function main() {
	const pool = nodemailer.createTransport({
		host: "127.0.0.1", port: Number(port), secure: false, ignoreTLS: true, name: "pool.example.com",
		pool: true, maxConnections: 4, greetingTimeout: 600000,
	});
	const sent = [];
	let number = 0;
	for await (const line of readline.createInterface({ input: fs.createReadStream(file) })) {
		while (!pool.isIdle()) await once(pool, "idle");
		const job = JSON.parse(line);
		sent.push(pool.sendMail({
			from: job.from, to: job.to, subject: job.subject, text: job.body_content,
			messageId: `<${++number}@pool.example.com>`,
		}).then(() => undefined));
	}
	await Promise.all(sent);
	process.stdout.write("done\n");
	process.stdin.on("data", () => {}).on("end", () => pool.close());
}
main().catch((problem) => { console.error(problem); process.exit(1); });
