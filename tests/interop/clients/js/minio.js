// The everyday life of minio-js; the bucket is the first argument.
import assert from 'node:assert/strict'
import { Readable } from 'node:stream'
import * as Minio from 'minio'

const bucket = process.argv[2]
const KEYS = ['a b+c/ü%20?x#.txt', 'dir//x', 'plain', "it's (a) *~!", '😀']
const endpoint = new URL(process.env.AWS_ENDPOINT_URL)
const client = new Minio.Client({
  endPoint: endpoint.hostname,
  port: Number(endpoint.port),
  useSSL: endpoint.protocol === 'https:',
  accessKey: process.env.AWS_ACCESS_KEY_ID,
  secretKey: process.env.AWS_SECRET_ACCESS_KEY,
})
const join = async (stream) => Buffer.concat(await stream.toArray())
const names = async (stream) => (await stream.toArray()).map((object) => object.name).sort()

await client.makeBucket(bucket, process.env.AWS_REGION)
assert.ok(await client.bucketExists(bucket))
for (const key of KEYS) {
  await client.putObject(bucket, key, Buffer.from(key), undefined, { 'Content-Type': 'text/x', k: 'v' })
  assert.equal((await join(await client.getObject(bucket, key))).toString(), key)
  await client.copyObject(bucket, 'copy', `/${bucket}/${key}`)
  assert.equal((await join(await client.getObject(bucket, 'copy'))).toString(), key)
  const answer = await fetch(await client.presignedGetObject(bucket, key, 60))
  assert.equal(await answer.text(), key)
}
assert.deepEqual(await names(client.listObjects(bucket, '', true)), ['copy', ...KEYS].sort())
assert.deepEqual(await names(client.listObjectsV2(bucket, '', true)), ['copy', ...KEYS].sort())
const { size, metaData } = await client.statObject(bucket, 'plain')
assert.deepEqual([size, metaData.k, metaData['content-type']], [5, 'v', 'text/x'])

const large = Buffer.alloc(70 << 20, 7)
await client.putObject(bucket, 'large', Readable.from([large.subarray(0, 5e6), large.subarray(5e6)]))
assert.equal((await join(await client.getPartialObject(bucket, 'large', 66 << 20))).length, 4 << 20)
const source = (Object) => new Minio.CopySourceOptions({ Bucket: bucket, Object })
const destination = new Minio.CopyDestinationOptions({ Bucket: bucket, Object: 'composed' })
await client.composeObject(destination, [source('large'), source('plain')])
assert.equal((await client.statObject(bucket, 'composed')).size, (70 << 20) + 5)

const put = await fetch(await client.presignedPutObject(bucket, 'given', 60), { method: 'PUT', body: 'given' })
assert.equal(put.status, 200)
await assert.rejects(client.statObject(bucket, 'none'), { code: 'NotFound' })

await client.removeObjects(bucket, ['copy', 'large', 'composed', 'given', ...KEYS])
assert.deepEqual(await names(client.listObjectsV2(bucket, '', true)), [])
await client.removeBucket(bucket)
assert.ok(!(await client.bucketExists(bucket)))
