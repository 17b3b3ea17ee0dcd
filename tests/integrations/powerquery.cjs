// Parse Power Query files with Microsoft's parser: node powerquery.cjs FOLDER_OF_PARSER FILE... prints one JSON object by file.
"use strict";
const { readFileSync } = require("node:fs");
const { createRequire } = require("node:module");

const [folder, ...files] = process.argv.slice(2);
const { DefaultSettings, Language, TaskUtils } = createRequire(`${folder}/`)("@microsoft/powerquery-parser");
const Kind = Language.Ast.NodeKind;

function walk(node, found) {
    if (Array.isArray(node)) return node.forEach((child) => walk(child, found));
    if (node === null || typeof node !== "object" || node.kind === undefined) return;
    if (node.kind === Kind.IdentifierExpression) found.used.add(node.identifier.literal);
    if (node.kind === Kind.IdentifierPairedExpression) found.defined.add(node.key.literal);
    if (node.kind === Kind.Parameter) found.defined.add(node.name.literal);
    if (node.kind === Kind.FieldSelector) found.fields.add(node.content.literal);
    Object.values(node).forEach((child) => walk(child, found));
}

async function main() {
    const results = {};
    for (const file of files) {
        const task = await TaskUtils.tryLexParse(DefaultSettings, readFileSync(file, "utf8"));
        if (TaskUtils.isError(task)) {
            results[file] = { error: task.error.message };
            continue;
        }
        const found = { used: new Set(), defined: new Set(), fields: new Set() };
        walk(task.ast, found);
        const sorted = Object.fromEntries(Object.entries(found).map(([name, set]) => [name, [...set].sort()]));
        results[file] = { error: null, kind: task.ast.kind, ...sorted };
    }
    console.log(JSON.stringify(results));
}

main();
