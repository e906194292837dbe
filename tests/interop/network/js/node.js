// A storage node and indexer made of the public packages, in memory. It keeps every rule that they keep; who may store
// on it, and what it does wrong, is in JSON in its argument. It ends when its standard input does.
import { DID, Message, Receipt, delegate } from '@ucanto/core'
import { ed25519 } from '@ucanto/principal'
import * as Server from '@ucanto/server'
import { CAR as Transport } from '@ucanto/transport'
import * as Assert from '@storacha/capabilities/assert'
import * as Blob from '@storacha/capabilities/blob'
import * as Content from '@storacha/capabilities/space/content'
import { ShardedDAGIndex } from '@storacha/blob-index'
import { from as queryResult } from '@storacha/indexing-service-client/query-result'
import * as Claim from '@storacha/indexing-service-client/claim'
import { base58btc } from 'multiformats/bases/base58'
import * as Digest from 'multiformats/hashes/digest'
import { sha256 } from 'multiformats/hashes/sha2'
import { createServer } from 'node:http'
import { buffer } from 'node:stream/consumers'
import * as AgentMessage from './agent_message.js'

const DAY = 24 * 3600
const told = JSON.parse(process.argv[2])
const seconds = () => Math.floor(Date.now() / 1000)
const node = await ed25519.generate()
const other = await ed25519.generate()

const blobs = new Map()
const allocations = new Map() // from space and digest to size
const claims = new Map() // from digest to location claim
const indexes = new Map() // from the digest of a slice or shard to the published claims and indexes
const seen = { invocations: [], puts: 0, gets: 0, queries: 0 }
let url

const name = (digest) => base58btc.encode(digest)
const room = (space, digest) => `${space} ${name(digest)}`
const failure = (name, message) => ({ error: { name, message } })

const allocate = ({ capability: { nb } }) => {
  const { digest, size } = nb.blob
  const key = room(nb.space.did(), digest)
  const fresh = allocations.has(key) ? 0 : size
  allocations.set(key, size)
  if (blobs.has(name(digest))) return { ok: { size: fresh } }
  const headers = { 'X-Amz-Checksum-Sha256': Buffer.from(digest.slice(-32)).toString('base64') }
  const address = { url: `${url}/blob/${name(digest)}?size=${size}&signed=a%2Fb`, headers, expires: seconds() + DAY }
  return { ok: { size: fresh, address } }
}

const accept = async ({ capability: { nb } }) => {
  const { digest, size } = nb.blob
  if (!blobs.has(name(digest))) return failure('HandlerExecutionError', 'blob not found')
  const issuer = told.wrong === 'claim' ? other : node
  const claim = await Assert.location.delegate({
    issuer,
    audience: DID.parse(nb.space.did()),
    with: issuer.did(),
    nb: {
      content: { digest },
      location: [`${url}/piece/${name(digest)}`],
      range: { offset: 0, length: size },
      space: DID.parse(nb.space.did()),
    },
    expiration: told.wrong === 'location expired' ? seconds() - DAY : Infinity,
  })
  claims.set(name(digest), claim)
  return Server.ok({ site: claim.cid }).fork(claim)
}

const publish = async ({ capability: { nb }, invocation }) => {
  const bytes = blobs.get(name(nb.index.multihash.bytes))
  if (!bytes) return failure('IndexNotFound', 'the index is no blob of this node')
  const { ok: index, error } = ShardedDAGIndex.extract(bytes)
  if (error) return { error }
  for (const [shard, slices] of index.shards)
    for (const digest of [shard, ...slices.keys()])
      indexes.set(name(digest.bytes), [...(indexes.get(name(digest.bytes)) ?? []), { invocation, index, shard }])
  return { ok: {} }
}

const retrieve = ({ capability }) => {
  const { blob, range } = capability.nb
  const bytes = blobs.get(name(blob.digest))
  if (!bytes || !allocations.has(room(capability.with, blob.digest))) return failure('NotFound', 'blob not found')
  return range[1] < bytes.length ? { ok: {} } : failure('RangeNotSatisfiable', 'beyond the end')
}

const server = Server.create({
  id: node,
  codec: Transport.inbound,
  validateAuthorization: () => ({ ok: {} }),
  service: {
    blob: {
      allocate: Server.provide(Blob.allocate, allocate),
      accept: Server.provideAdvanced({ capability: Blob.accept, handler: accept }),
    },
    assert: { index: Server.provide(Assert.index, publish) },
    space: { content: { retrieve: Server.provide(Content.retrieve, retrieve) } },
  },
  catch: (error) => console.error(error),
})

/** Execute the invocations of a message. */
const execute = async (request) => {
  const body = new Uint8Array(await buffer(request))
  const selection = server.codec.accept({ headers: request.headers, body })
  if (selection.error) return { status: selection.error.status, body: selection.error.message }
  const { encoder, decoder } = selection.ok
  const message = await decoder.decode({ headers: request.headers, body })
  seen.invocations.push(message.invocations.map((one) => one.capabilities[0].can))
  const result = await Server.execute(message, server)
  if (told.wrong !== 'receipt') return encoder.encode(result)
  const receipts = await Promise.all([...result.receipts.values()].map(resigned))
  return encoder.encode(await Message.build({ receipts }))
}

const put = async (request, digest) => {
  seen.puts++
  const wanted = new URL(request.url, url).searchParams
  if (wanted.get('signed') !== 'a/b' || !request.url.includes('a%2Fb')) return { status: 401 }
  if (request.headers['content-length'] !== wanted.get('size')) return { status: 411 }
  if (!request.headers['x-amz-checksum-sha256']) return { status: 401 }
  const bytes = new Uint8Array(await buffer(request))
  if (name((await sha256.digest(bytes)).bytes) !== digest) return { status: 409 }
  blobs.set(digest, bytes)
  return { status: 200 }
}

/** Bytes of a blob: which, and whether at all, is in the header. */
const get = async (request) => {
  seen.gets++
  const text = request.headers[AgentMessage.HEADER.toLowerCase()]
  if (!text) return { status: 415 }
  const [invocation] = (await AgentMessage.read(text)).invocations
  const receipt = await server.run(invocation)
  const { blob, range } = invocation.capabilities[0].nb
  const { ok, error } = receipt.out
  const status = ok ? 206 : { NotFound: 404, RangeNotSatisfiable: 416 }[error.name] ?? 200
  const body = ok ? blobs.get(name(blob.digest)).slice(range[0], range[1] + 1) : undefined
  const reported = told.wrong === 'receipt' ? await resigned(receipt) : receipt
  if (ok && told.wrong === 'bytes') body[0] ^= 1
  return { status, headers: { [AgentMessage.HEADER]: await AgentMessage.report(reported) }, body }
}

const query = async (request) => {
  seen.queries++
  const found = { claims: new Map(), indexes: new Map() }
  const add = (claim) => claim && found.claims.set(`${claim.cid}`, Claim.from(claim))
  for (const text of new URL(request.url, url).searchParams.getAll('multihash')) {
    add(claims.get(text))
    for (const { invocation, index, shard } of indexes.get(text) ?? []) {
      add(invocation)
      add(claims.get(name(invocation.capabilities[0].nb.index.multihash.bytes)))
      add(claims.get(name(shard.bytes)))
      found.indexes.set(`${invocation.cid}`, index)
    }
  }
  const { ok, error } = await queryResult({ claims: [...found.claims.values()], indexes: found.indexes })
  if (error) throw error
  return { status: 200, body: (await ok.archive()).ok }
}

/** A receipt as somebody else would sign it. */
const resigned = ({ ran, out, fx }) => Receipt.issue({ issuer: other, ran, result: out, fx })

const answer = (request) => {
  const [, first, rest] = new URL(request.url, url).pathname.split('/')
  if (request.method === 'POST') return execute(request)
  if (request.method === 'PUT' && first === 'blob') return put(request, rest)
  if (request.method === 'GET' && first === 'piece') return get(request)
  if (request.method === 'GET' && first === 'claims') return query(request)
  if (request.method === 'GET' && first === 'seen') return { status: 200, body: JSON.stringify(seen) }
  return { status: 404 }
}

const listener = createServer(async (request, response) => {
  try {
    const { status = 200, headers = {}, body = '' } = await answer(request)
    response.writeHead(status, headers).end(body)
  } catch (error) {
    console.error(error)
    response.writeHead(500).end()
  }
})
listener.listen(0, '127.0.0.1', async () => {
  url = `http://127.0.0.1:${listener.address().port}`
  const grant = await delegate({
    issuer: node,
    audience: DID.parse(told.agent),
    capabilities: ['blob/allocate', 'blob/accept'].map((can) => ({ can, with: node.did(), nb: {} })),
    expiration: told.wrong === 'grant expired' ? seconds() - DAY : Infinity,
  })
  console.log(JSON.stringify({ url, did: node.did(), grant: await AgentMessage.toText(grant) }))
})
process.stdin.on('end', () => process.exit(0)).resume()
