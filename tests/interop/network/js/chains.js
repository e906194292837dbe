// Chains of delegations that are described in JSON on standard input: made, encoded and judged by the public packages.
// For each: the agent message as made here, and the verdict on the one that came with the description.
import { CBOR, DAG, Delegation, Message, delegate } from '@ucanto/core'
import { Verifier, ed25519 } from '@ucanto/principal'
import { access } from '@ucanto/validator'
import { retrieve } from '@storacha/capabilities/space/content'
import { json } from 'node:stream/consumers'
import * as AgentMessage from './agent_message.js'

const hex = (text) => new Uint8Array(Buffer.from(text, 'hex'))
const base64 = (bytes) => Buffer.from(bytes).toString('base64')

/** One UCAN of a chain, with the chain so far as its proof. */
const issue = async (step, proofs) => {
  const { issuer, audience, can, with: resource, digest, range, expires, notBefore, tampered } = step
  const nb = { ...(digest && { blob: { digest: hex(digest) } }), ...(range && { range }) }
  const options = {
    issuer: await ed25519.derive(hex(issuer)),
    audience: Verifier.parse(audience),
    capabilities: [{ can, with: resource, nb }],
    expiration: expires ?? Infinity,
    ...(notBefore && { notBefore }),
    proofs,
  }
  const made = await delegate(options)
  return tampered ? withoutEnd(made) : made
}

/** The same UCAN, but for its expiry: the signature is the one over the former. */
const withoutEnd = async (delegation) => {
  const model = CBOR.decode(delegation.root.bytes)
  const store = DAG.createStore([...delegation.iterateIPLDBlocks()])
  const root = await DAG.writeInto({ ...model, exp: null }, store)
  return Delegation.view({ root: root.cid, blocks: store })
}

const make = async (steps) => {
  let proofs = []
  for (const step of steps) proofs = [await issue(step, proofs)]
  return AgentMessage.encode(await Message.build({ invocations: proofs }))
}

const judge = async (bytes, node) => {
  const message = await AgentMessage.decode(bytes)
  const [invocation] = message.invocations
  if (invocation.audience.did() !== node) return 'InvalidAudienceError'
  const authority = Verifier.parse(node)
  const options = { capability: retrieve, authority, principal: Verifier, validateAuthorization: () => ({ ok: {} }) }
  const { error } = await access(invocation, options)
  return error ? error.name : 'ok'
}

const { node, chains } = await json(process.stdin)
const found = {}
for (const [name, { steps, message }] of Object.entries(chains)) {
  const made = await make(steps)
  const verdict = await judge(Buffer.from(message, 'base64'), node)
  found[name] = { made: base64(made), verdict }
}
console.log(JSON.stringify(found))
