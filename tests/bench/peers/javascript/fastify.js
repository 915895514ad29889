// The benchmark's endpoints in Fastify: JSON schema for what comes in and for what goes out.
import Fastify from "fastify";

const app = Fastify({ logger: false });

const item = {
  type: "object",
  required: ["name", "price"],
  properties: {
    name: { type: "string", minLength: 1, maxLength: 50 },
    price: { type: "number", exclusiveMinimum: 0 },
    tax: { type: "number", nullable: true },
    description: { type: "string", nullable: true },
    tags: { type: "array", items: { type: "string" }, default: [] },
  },
};

const message = { type: "object", properties: { message: { type: "string" } } };

const readItem = {
  params: {
    type: "object",
    required: ["item_id"],
    properties: { item_id: { type: "integer", minimum: 1 } },
  },
  querystring: {
    type: "object",
    properties: {
      q: { type: "string" },
      limit: { type: "integer", maximum: 100, default: 10 },
    },
  },
  response: {
    200: {
      type: "object",
      properties: {
        item_id: { type: "integer" },
        q: { type: "string", nullable: true },
        limit: { type: "integer" },
      },
    },
  },
};

app.get("/", { schema: { response: { 200: message } } }, async () => ({ message: "Hello World" }));

app.get("/items/:item_id", { schema: readItem }, async (request) => ({
  item_id: request.params.item_id,
  q: request.query.q,
  limit: request.query.limit,
}));

const createItem = { body: item, response: { 200: item } };

app.post("/items", { schema: createItem }, async (request) => request.body);

await app.listen({ host: "127.0.0.1", port: Number(process.argv[2]) });
