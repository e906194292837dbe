// A gateway made of the public packages, with a storage node of ours: a blob with its index there and back, and what it
// must not get. The node's address, its DID and its permission are the arguments.
import assert from 'node:assert/strict'
import { CAR, DID, Delegation } from '@ucanto/core'
import { connect } from '@ucanto/client'
import { Verifier, ed25519 } from '@ucanto/principal'
import { CAR as Transport, HTTP } from '@ucanto/transport'
import { claim as validClaim } from '@ucanto/validator'
import * as Assert from '@storacha/capabilities/assert'
import * as Blob from '@storacha/capabilities/blob'
import * as Content from '@storacha/capabilities/space/content'
import * as Put from '@storacha/capabilities/http'
import * as SpaceBlob from '@storacha/capabilities/space/blob'
import { ShardedDAGIndex } from '@storacha/blob-index'
import { Client as Indexing } from '@storacha/indexing-service-client'
import * as raw from 'multiformats/codecs/raw'
import { create as createLink } from 'multiformats/link'
import { sha256 } from 'multiformats/hashes/sha2'
import * as AgentMessage from './agent_message.js'

const [url, did, grantText, spaceText, agentText] = process.argv.slice(2)
const node = Verifier.parse(did)
const space = ed25519.parse(spaceText)
const agent = ed25519.parse(agentText)
const grant = await AgentMessage.fromText(grantText)
const connection = connect({ id: node, codec: Transport.outbound, channel: HTTP.open({ url: new URL(url) }) })
const trusting = { authority: node, principal: Verifier, validateAuthorization: () => ({ ok: {} }) }
const described = async (data) => ({ digest: (await sha256.digest(data)).bytes, size: data.length })

const allocation = async (blob, { proofs = [grant], ...rest } = {}) => {
  const cause = await SpaceBlob.add.delegate({ issuer: agent, audience: agent, with: space.did(), nb: { blob } })
  const nb = { blob, space: DID.parse(space.did()), cause: cause.cid }
  return Blob.allocate.invoke({ issuer: agent, audience: node, with: node.did(), nb, proofs, ...rest }).delegate()
}

const acceptance = async (blob, allocated) => {
  const key = await ed25519.derive(blob.digest.slice(-32))
  const awaited = (selector) => ({ 'ucan/await': [selector, allocated.cid] })
  const put = await Put.put.delegate({
    issuer: key,
    audience: key,
    with: key.did(),
    nb: { url: awaited('.out.ok.address.url'), headers: awaited('.out.ok.address.headers'), body: blob },
    expiration: Infinity,
  })
  const nb = { blob, space: DID.parse(space.did()), _put: { 'ucan/await': ['.out.ok', put.cid] } }
  const options = { issuer: agent, audience: node, with: node.did(), nb, proofs: [grant], expiration: Infinity }
  return Blob.accept.invoke(options).delegate()
}

/** What a receipt gives, once its signature and what it is for have been checked. */
const believed = async (receipt, ran) => {
  assert.equal(`${receipt.ran.link()}`, `${ran.cid}`)
  assert.equal(receipt.issuer.did(), node.did())
  assert.ok((await receipt.verifySignature(node)).ok)
  return receipt.out
}

const store = async (...datas) => {
  const blobs = await Promise.all(datas.map(described))
  const asked = await Promise.all(blobs.map((blob) => allocation(blob)))
  const allocated = await connection.execute(...asked)
  for (const [number, receipt] of allocated.entries()) {
    const { ok } = await believed(receipt, asked[number])
    assert.equal(ok.size, blobs[number].size)
    const answer = await fetch(ok.address.url, { method: 'PUT', headers: ok.address.headers, body: datas[number] })
    assert.ok(answer.ok, `${answer.status}`)
  }
  const vouched = await Promise.all(blobs.map((blob, number) => acceptance(blob, asked[number])))
  const accepted = await connection.execute(...vouched)
  return Promise.all(accepted.map(async (receipt, number) => locationOf(receipt, vouched[number], blobs[number])))
}

/** The location claim that came with a receipt, validated. */
const locationOf = async (receipt, ran, blob) => {
  const { ok, error } = await believed(receipt, ran)
  assert.ok(ok, error?.message)
  assert.deepEqual(receipt.fx.fork.map((one) => `${one.link()}`), [`${ok.site}`])
  const blocks = new Map([...receipt.iterateIPLDBlocks()].map((one) => [`${one.cid}`, one]))
  return checked(Delegation.view({ root: ok.site, blocks }), blob)
}

const checked = async (claim, blob) => {
  const { ok, error } = await validClaim(Assert.location, [claim], trusting)
  assert.ok(ok, error?.message)
  const { nb } = ok.capability
  assert.equal(claim.issuer.did(), node.did())
  assert.equal(ok.capability.with, node.did())
  assert.equal(claim.audience.did(), space.did())
  assert.equal(nb.space.did(), space.did())
  assert.deepEqual(nb.content.digest, blob.digest)
  assert.deepEqual(nb.range, { offset: 0, length: blob.size })
  return nb.location[0]
}

const reading = (expiration) =>
  Content.retrieve.delegate({ issuer: space, audience: agent, with: space.did(), expiration })

/** Ask for bytes of a blob; the status, the bytes, and what the receipt says. */
const retrieve = async (location, digest, range, { issuer = agent, proofs = [] } = {}) => {
  const nb = { blob: { digest }, range }
  const asked = await Content.retrieve.invoke({ issuer, audience: node, with: space.did(), nb, proofs }).delegate()
  const answer = await fetch(location, { headers: { [AgentMessage.HEADER]: await AgentMessage.request(asked) } })
  const message = await AgentMessage.read(answer.headers.get(AgentMessage.HEADER))
  const out = await believed(message.get(asked.cid), asked)
  return { status: answer.status, bytes: new Uint8Array(await answer.arrayBuffer()), out }
}

const now = Math.floor(Date.now() / 1000)

// A CAR file of two blocks, and its index.
const blocks = await Promise.all(['block one', 'block two!'].map(async (text) => {
  const bytes = new TextEncoder().encode(text)
  return { cid: createLink(raw.code, await sha256.digest(bytes)), bytes }
}))
const car = CAR.encode({ roots: [blocks[0]], blocks: new Map(blocks.map((one) => [`${one.cid}`, one])) })
const shard = await sha256.digest(car)
const index = ShardedDAGIndex.create(blocks[0].cid)
for (const { cid, bytes } of blocks) {
  const offset = Buffer.from(car).indexOf(bytes)
  index.setSlice(shard, cid.multihash, [offset, bytes.length])
}
const archive = (await index.archive()).ok
const [place, placeOfIndex] = await store(car, archive)

// Nobody gets what is accepted already a second time, and it can still be accepted.
const again = await allocation(await described(car))
assert.deepEqual(await believed((await connection.execute(again))[0], again), { ok: { size: 0 } })

// Bytes: all, a part, with the space's own key, and not so.
const proofs = [await reading(now + 60)]
const whole = await retrieve(place, shard.bytes, [0, car.length - 1], { proofs })
assert.deepEqual([whole.status, whole.out, Buffer.from(whole.bytes)], [200, { ok: {} }, Buffer.from(car)])
const part = await retrieve(place, shard.bytes, [7, 19], { issuer: space })
assert.deepEqual([part.status, Buffer.from(part.bytes)], [206, Buffer.from(car.slice(7, 20))])
const other = await ed25519.generate()
const refusals = {
  'no delegation': {},
  'an expired one': { proofs: [await reading(now - 3600)] },
  'one for somebody else': { issuer: other, proofs },
  'one that is not the space\'s': {
    proofs: [await Content.retrieve.delegate({ issuer: other, audience: agent, with: space.did() })],
  },
}
for (const [name, how] of Object.entries(refusals)) {
  const { bytes, out } = await retrieve(place, shard.bytes, [0, 9], how)
  assert.deepEqual([bytes.length, out.error?.name], [0, 'Unauthorized'], name)
}
assert.equal((await retrieve(place, shard.bytes, [0, car.length], { proofs })).status, 416)
assert.equal((await retrieve(place, (await sha256.digest(archive.slice(1))).bytes, [0, 9], { proofs })).status, 404)
assert.equal((await fetch(place)).status, 415)

// Who may not store.
for (const [name, how] of Object.entries({
  'no grant': { proofs: [] },
  'an expired invocation': { expiration: now - 3600 },
  'another agent': { issuer: other },
})) {
  const asked = await allocation(await described(new Uint8Array(9)), how)
  const out = await believed((await connection.execute(asked))[0], asked)
  assert.equal(out.error?.name, 'Unauthorized', name)
}

// The index is published and found by those whom the space lets.
const indexBlob = await described(archive)
const nb = { blob: { digest: indexBlob.digest }, range: [0, archive.length - 1] }
const first = await Content.retrieve.delegate({ issuer: space, audience: agent, with: space.did(), nb })
const options = { issuer: agent, audience: node, with: space.did(), nb, proofs: [first] }
const retrievalAuth = await Content.retrieve.delegate(options)
const published = await Assert.index.invoke({
  issuer: agent,
  audience: node,
  with: agent.did(),
  nb: { content: blocks[0].cid, index: createLink(CAR.code, await sha256.digest(archive)) },
  facts: [{ retrievalAuth: retrievalAuth.cid }],
  proofs: [retrievalAuth],
}).delegate()
const { ok: told, error: untold } = await believed((await connection.execute(published))[0], published)
assert.deepEqual(told, {}, untold?.message)

const allowed = await Content.retrieve.delegate({ issuer: space, audience: node, with: space.did() })
const query = async (header) => {
  const asking = (from, { headers }) => fetch(from, { headers: { ...headers, ...header } })
  const client = new Indexing({ servicePrincipal: node, serviceURL: new URL(url), fetch: asking })
  const asked = { hashes: [blocks[1].cid.multihash], match: { subject: [space.did()] } }
  const { ok, error } = await client.queryClaims(asked)
  assert.ok(ok, error?.message)
  return ok
}
const found = await query({ [AgentMessage.HEADER]: await AgentMessage.request(allowed) })
const [[, back]] = [...found.indexes]
assert.deepEqual(Buffer.from((await back.archive()).ok), Buffer.from(archive))
const claims = [...found.claims.values()].map((one) => one.delegation())
const locations = claims.filter((one) => one.capabilities[0].can === 'assert/location')
const digests = locations.map((one) => Buffer.from(one.capabilities[0].nb.content.digest).toString('hex'))
const at = digests.indexOf(Buffer.from(shard.bytes).toString('hex'))
assert.equal(await checked(locations[at], await described(car)), place)
assert.ok(claims.some((one) => `${one.cid}` === `${published.cid}`))
assert.equal((await query({})).indexes.size, 0)
assert.ok(placeOfIndex)
