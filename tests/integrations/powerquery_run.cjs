// Evaluate a Power Query file: node powerquery_run.cjs FOLDER_OF_PARSER FILE, with {names, sources} as JSON on the input.
//
// Only as much of M as the queries of integrations/powerbi use. The parser is Microsoft's; what the expressions mean follows the language's
// specification: lazy "let", logic and comparison of null, no equality between values of different kinds. Tables are lists of records. A
// time is {ms, zone}: in the input {"time": "2026-02-24T12:00:00Z"} has a zone, and without Z it has none. *sources* gives what the
// functions that read from outside return.
"use strict";
const { readFileSync } = require("node:fs");
const { createRequire } = require("node:module");

const [folder, file] = process.argv.slice(2);
const { DefaultSettings, TaskUtils } = createRequire(`${folder}/`)("@microsoft/powerquery-parser");
const input = JSON.parse(readFileSync(0, "utf8"), (_, value) => (value && value.time ? time(value.time) : value));

function time(text) {
    const zone = text.endsWith("Z");
    return { ms: Date.parse(zone ? text : `${text}Z`), zone };
}
const isTime = (value) => value !== null && typeof value === "object" && "ms" in value;
const plain = (value) => (isTime(value) ? value.ms : value);
const equal = (left, right) => typeof left === typeof right && plain(left) === plain(right);
function below(left, right) {
    if (left === null || right === null) return null;
    if (typeof left !== typeof right || (isTime(left) && left.zone !== right.zone)) throw new Error("compares values of two kinds");
    return plain(left) < plain(right);
}
const not = (value) => (value === null ? null : !value);
const greatest = (values) => values.filter((one) => one !== null).reduce((a, b) => (a === null || below(a, b) ? b : a), null);

const library = {
    "#datetime": (y, m, d, h, min, s) => ({ ms: Date.UTC(y, m - 1, d, h, min, s), zone: false }),
    "#duration": (d, h, m, s) => (((d * 24 + h) * 60 + m) * 60 + s) * 1000,
    "AzureStorage.Blobs": (url) => input.sources[url],
    "AzureStorage.DataLake": (url) => input.sources[url],
    "DateTime.AddZone": (value) => ({ ...value, zone: true }),
    "DateTime.Date": (value) => ({ ms: value.ms - (value.ms % 86400000), zone: false }),
    "DateTimeZone.From": (value) => ({ ...value, zone: true }),
    "DateTimeZone.RemoveZone": (value) => ({ ...value, zone: false }),
    "DateTimeZone.ToUtc": (value) => value,
    "DateTimeZone.UtcNow": () => input.names.Now,
    "DeltaLake.Table": (rows) => rows,
    "List.Count": (list) => list.length,
    "List.Max": greatest,
    "List.Transform": (list, change) => list.map((one) => change(one)),
    "Order.Descending": 1,
    "Parquet.Document": (content) => content,
    "Sql.Database": (server, database) => input.sources[`${server}/${database}`],
    "Table.AddColumn": (rows, name, value) => rows.map((row) => ({ ...row, [name]: value(row) })),
    "Table.Combine": (tables) => {
        const names = [...new Set(tables.flat().flatMap(Object.keys))];
        return tables.flat().map((row) => Object.fromEntries(names.map((name) => [name, row[name] ?? null])));
    },
    "Table.Group": (rows, [key], columns) =>
        [...new Set(rows.map((row) => row[key]))].map((value) => {
            const group = rows.filter((row) => row[key] === value);
            return { [key]: value, ...Object.fromEntries(columns.map(([name, of]) => [name, of(group)])) };
        }),
    "Table.IsEmpty": (rows) => rows.length === 0,
    "Table.SelectRows": (rows, condition) => rows.filter((row) => condition(row) === true),
    "Table.Sort": (rows, [[name]]) => [...rows].sort((a, b) => (below(a[name], b[name]) ? 1 : -1)),
    "Table.TransformColumns": (rows, changes) =>
        rows.map((row) => ({ ...row, ...Object.fromEntries(changes.map(([name, change]) => [name, change(row[name])])) })),
    "Text.BeforeDelimiter": (text, mark) => text.split(mark)[0],
    "Text.EndsWith": (text, end) => text.endsWith(end),
    "Text.Length": (text) => text.length,
    "Text.Lower": (text) => text.toLowerCase(),
    "Text.PadEnd": (text, length, mark) => text.padEnd(length, mark),
    "Text.Select": (text, marks) => [...text].filter((one) => marks.includes(one)).join(""),
    "Text.Split": (text, mark) => text.split(mark),
    "Text.StartsWith": (text, start) => text.startsWith(start),
};

function field(value, name) {
    if (Array.isArray(value)) return value.map((row) => field(row, name));
    if (!(name in value)) throw new Error(`there is no field ${name}`);
    return value[name];
}
function item(value, key) {
    const found = typeof key === "number" ? value[key] : value.find((row) => Object.keys(key).every((name) => row[name] === key[name]));
    if (found === undefined) throw new Error("there are not enough elements");
    return found;
}
const nodes = (wrapper) => wrapper.elements.map((csv) => csv.node);
const scope = (outer, names) => Object.setPrototypeOf(names, outer);

const evaluators = {
    LetExpression(node, names) {
        const inner = scope(names, {});
        for (const { key, value } of nodes(node.variableList)) {
            let known;
            Object.defineProperty(inner, key.literal, { get: () => (known ??= { value: evaluate(value, inner) }).value });
        }
        return evaluate(node.expression, inner);
    },
    IdentifierExpression(node, names) {
        const name = node.identifier.literal;
        if (!(name in names)) throw new Error(`there is no ${name}`);
        return names[name];
    },
    LiteralExpression: (node) => JSON.parse(node.literal),
    EachExpression: (node, names) => (value) => evaluate(node.paired, scope(names, { _: value })),
    FunctionExpression: (node, names) => (...values) => {
        const named = nodes(node.parameters.content).map((one, n) => [one.name.literal, values[n]]);
        return evaluate(node.expression, scope(names, Object.fromEntries(named)));
    },
    FieldSelector: (node, names) => field(names._, node.content.literal),
    ParenthesizedExpression: (node, names) => evaluate(node.content, names),
    ListExpression: (node, names) => nodes(node.content).flatMap((one) => (one.kind === "RangeExpression" ? evaluate(one, names) : [evaluate(one, names)])),
    RecordExpression: (node, names) => Object.fromEntries(nodes(node.content).map((one) => [one.key.literal, evaluate(one.value, names)])),
    RangeExpression(node, names) {
        const [first, last] = [node.left, node.right].map((one) => evaluate(one, names).codePointAt(0));
        return Array.from({ length: last - first + 1 }, (_, n) => String.fromCodePoint(first + n));
    },
    IfExpression: (node, names) => evaluate(evaluate(node.condition, names) ? node.trueExpression : node.falseExpression, names),
    ErrorRaisingExpression(node, names) {
        throw new Error(evaluate(node.paired, names));
    },
    LogicalExpression(node, names) {
        const left = evaluate(node.left, names);
        const decides = node.operatorConstant.constantKind === "or";
        if (left === decides) return left;
        const right = evaluate(node.right, names);
        return right === decides ? right : left === null || right === null ? null : right;
    },
    EqualityExpression: (node, names) => (node.operatorConstant.constantKind === "=") === equal(evaluate(node.left, names), evaluate(node.right, names)),
    RelationalExpression(node, names) {
        const [left, right] = [evaluate(node.left, names), evaluate(node.right, names)];
        const kinds = { "<": () => below(left, right), ">": () => below(right, left), "<=": () => not(below(right, left)), ">=": () => not(below(left, right)) };
        return kinds[node.operatorConstant.constantKind]();
    },
    ArithmeticExpression(node, names) {
        const [left, right] = [evaluate(node.left, names), evaluate(node.right, names)];
        if (node.operatorConstant.constantKind === "&") return left + right;
        if (node.operatorConstant.constantKind === "-" && isTime(left)) return { ...left, ms: left.ms - right };
        throw new Error(`there is no ${node.operatorConstant.constantKind} here`);
    },
    IsExpression: (node, names) => node.right.primitiveTypeKind === "datetimezone" && isTime(evaluate(node.left, names)) && evaluate(node.left, names).zone,
    TypePrimaryType: () => null,
    RecursivePrimaryExpression(node, names) {
        const steps = {
            InvokeExpression: (value, step) => value(...nodes(step.content).map((one) => evaluate(one, names))),
            ItemAccessExpression: (value, step) => item(value, evaluate(step.content, names)),
            FieldSelector: (value, step) => field(value, step.content.literal),
        };
        return node.recursiveExpressions.elements.reduce((value, step) => steps[step.kind](value, step), evaluate(node.head, names));
    },
};
function evaluate(node, names) {
    if (!(node.kind in evaluators)) throw new Error(`nothing here evaluates ${node.kind}`);
    return evaluators[node.kind](node, names);
}

async function main() {
    const task = await TaskUtils.tryLexParse(DefaultSettings, readFileSync(file, "utf8"));
    if (TaskUtils.isError(task)) throw task.error;
    const shown = (_, value) => (isTime(value) ? new Date(value.ms).toISOString().slice(0, 19) : value);
    try {
        console.log(JSON.stringify({ value: evaluate(task.ast, scope(library, input.names)) }, shown));
    } catch (error) {
        console.log(JSON.stringify({ error: error.message }));
    }
}

main();
