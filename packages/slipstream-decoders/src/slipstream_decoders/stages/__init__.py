"""The pipeline stages of this package. Only this folder imports torch.

base                   Stage, and how the stages of a pipeline are named and run
crop                   what all decode-and-crop stages share
decode_only            DecodeOnly: whole images
center_crop            DecodeCenterCrop
resize_crop            DecodeResizeCrop
random_resized         DecodeRandomResizedCrop
direct_random_resized  DecodeDirectRandomResizedCrop
yuv                    DecodeYUVFullRes, DecodeYUVPlanes: whole images in YUV
yuv_crops              DecodeYUVCenterCrop, DecodeYUVResizeCrop, DecodeYUVRandomResizedCrop
short_long             DecodeRandomResizeShortCropLong
multi_crop             several random crops of each image from one decode
embed                  DecodeMultiResizeCropEmbed
output                 Output: what a decoding stage writes, with the work of stages after it
byte_tables            uint8 to floating point in one pass, for the two below
channel_scale          float32 times and plus a number a channel, for normalize
to_torch_image         ToTorchImage
normalize              Normalize, IMAGENET_MEAN, IMAGENET_STD
views                  DecodeViews, NamedCopies, MultiCropPipeline
"""
